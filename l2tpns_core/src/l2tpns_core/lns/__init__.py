"""THE LNS: tunnel and session tables, and a session's life from ICRQ to Accounting-Stop."""

from l2tpns_core.lns.server import Lns
from l2tpns_core.lns.state import LnsCounters

__all__ = ["Lns", "LnsCounters"]
