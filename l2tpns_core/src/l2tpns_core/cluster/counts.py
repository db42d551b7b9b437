"""What sessions used at a slave, as octets in a report."""

from collections.abc import Iterator, Mapping
from struct import Struct
from typing import Final, NamedTuple

from l2tpns_core.cluster.errors import ClusterError, Refusal
from l2tpns_core.cluster.messages import PREFERRED_BODY

_COUNT: Final = Struct("!IQQIII")
MAX_COUNTS: Final = (PREFERRED_BODY - 60) // _COUNT.size
"""Sessions in one report."""
MAX_U32: Final = 0xFFFFFFFF


class Count(NamedTuple):
    """What a session used at one node since its report before."""

    octets_in: int
    octets_out: int
    packets_in: int
    packets_out: int
    data_time: int = 0
    """Unix time of its last packet from the subscriber; 0 for none."""


def together(one: Count, other: Count) -> Count:
    """What two counts of a session are in all."""
    return Count(
        one.octets_in + other.octets_in,
        one.octets_out + other.octets_out,
        one.packets_in + other.packets_in,
        one.packets_out + other.packets_out,
        max(one.data_time, other.data_time),
    )


def pack_counts(counts: Mapping[int, Count]) -> bytes:
    """By the key of a session."""
    return b"".join(_COUNT.pack(key, *count) for key, count in counts.items())


def unpack_counts(data: bytes) -> dict[int, Count]:
    """Raises ClusterError."""
    if len(data) % _COUNT.size or len(data) > MAX_COUNTS * _COUNT.size:
        raise ClusterError(Refusal.BODY, "counts have a wrong length")
    return {key: Count(*numbers) for key, *numbers in _COUNT.iter_unpack(data)}


def in_reports(counts: Mapping[int, Count]) -> Iterator[dict[int, Count]]:
    """Counts in parts that each fit into a report."""
    keys = list(counts)
    for at in range(0, len(keys), MAX_COUNTS):
        yield {key: counts[key] for key in keys[at : at + MAX_COUNTS]}
