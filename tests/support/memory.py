"""The LNS in memory of l2tpns_core.lab, under the name that the tests of the core know it by."""

from l2tpns_core.lab.memory import (
    LAC,
    Client,
    Lac,
    MemoryRadius,
    MemoryRoutes,
    World,
    avp,
    ip,
    split_avps,
)

__all__ = [
    "LAC",
    "Client",
    "Lac",
    "MemoryRadius",
    "MemoryRoutes",
    "World",
    "avp",
    "ip",
    "split_avps",
]
