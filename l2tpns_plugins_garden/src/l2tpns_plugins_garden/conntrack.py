"""Forgetting the connections of an address.

NAT is decided on the first packet of a connection. One that was open before its subscriber was
trapped would go on past the garden, and one that the garden has taken would stay in it afterwards.
"""

import errno
import struct
from collections.abc import Callable, Collection, Iterator
from typing import Final

from pyroute2.netlink.nfnetlink import nfgen_msg

from l2tpns_plugins_garden.netlink import (
    NetfilterError,
    NetfilterSocket,
    attribute,
    encode,
    walk,
)
from l2tpns_plugins_garden.rules import IPV4, Family

SUBSYSTEM_CONNTRACK: Final = 1
GET, DELETE = 1, 2
TUPLE_ORIGINAL, TUPLE_REPLY, ZONE, IDENTITY, FILTER = 1, 2, 18, 12, 25
TUPLE_IP: Final = 1
FILTER_ORIGINAL, FILTER_REPLY = 1, 2
FILTER_SOURCE: Final = 1
"""CTA_FILTER_F_CTA_IP_SRC: of a tuple, only the source address counts."""
NESTED: Final = 0x8000
FILTERED_AT_MOST: Final = 256
"""So many addresses are asked for one by one, the kernel choosing the entries, which costs this
process next to nothing; for more, all entries are read once."""
UNABLE: Final = frozenset((errno.EOPNOTSUPP, errno.EPROTONOSUPPORT, errno.EINVAL, errno.EPERM))
"""What the kernel answers that cannot do it, and will not be able to do it later."""


class Connections:
    """The connections that the kernel tracks. One thread at a time."""

    def __init__(
        self, family: Family = IPV4, report: Callable[[str], None] = lambda line: None
    ) -> None:
        self._family = family
        self._report = report
        self._kernel: NetfilterSocket | None = None
        self._are_tracked = True

    def forget(self, addresses: Collection[int]) -> int:
        """Delete the entries of all connections from or to these addresses; how many there were.

        A kernel that cannot do it is reported, once. Any other failure is tried again, once.
        """
        if not self._are_tracked or not addresses:
            return 0
        try:
            return self._forget(addresses)
        except NetfilterError as error:
            if error.code not in UNABLE:
                return self._forget_again(addresses, error)
            self._are_tracked = False
            self._report(
                "connections that are open when a user enters or leaves the garden go on as "
                f"they were ({error}): modprobe nf_conntrack_netlink"
            )
            return 0

    def _forget(self, addresses: Collection[int]) -> int:
        if self._kernel is None:
            self._kernel = NetfilterSocket()
        return forget(self._kernel, addresses, self._family)

    def _forget_again(self, addresses: Collection[int], failure: NetfilterError) -> int:
        """On a socket of its own: answers may be left in the one that has failed."""
        self.close()
        try:
            count = self._forget(addresses)
        except NetfilterError as error:
            self.close()
            self._report(f"connections of {len(addresses)} addresses go on as they were: {error}")
            return 0
        self._report(f"connections were forgotten at the second attempt: {failure}")
        return count

    def close(self) -> None:
        if self._kernel is not None:
            self._kernel.close()
            self._kernel = None


def forget(kernel: NetfilterSocket, addresses: Collection[int], family: Family = IPV4) -> int:
    """Delete the entries of all connections from or to these addresses; how many there were.

    Raises NetfilterError when the kernel cannot say what connections there are.
    """
    wanted = {address.to_bytes(family.address_length, "big") for address in addresses}
    count = 0
    for bodies in _entries(kernel, wanted, family):
        doomed: dict[bytes, None] = {}
        for body in bodies:
            fields = dict(walk(body))
            if not wanted.isdisjoint(_sources(fields, family)):
                doomed[_identity(fields)] = None
        for identity in doomed:
            count += _delete(kernel, identity, family)
    return count


def _entries(
    kernel: NetfilterSocket, wanted: Collection[bytes], family: Family
) -> Iterator[list[bytes]]:
    """All entries in which a wanted address is a source, with others perhaps."""
    if len(wanted) > FILTERED_AT_MOST:
        yield kernel.dump(_message(GET, family, b""))
        return
    for address in wanted:
        for request in _requests(address, family):
            bodies = kernel.dump(request)
            yield bodies
            if any(address not in _sources(dict(walk(body)), family) for body in bodies):
                return  # a kernel before 5.8, which knows no filter: these were all


def _requests(address: bytes, family: Family) -> Iterator[bytes]:
    ip = attribute(TUPLE_IP | NESTED, attribute(_source_kind(family), address))
    for kind, flag in ((TUPLE_ORIGINAL, FILTER_ORIGINAL), (TUPLE_REPLY, FILTER_REPLY)):
        chosen = attribute(flag, struct.pack("=I", FILTER_SOURCE))
        yield _message(
            GET,
            family,
            attribute(kind | NESTED, ip) + attribute(FILTER | NESTED, chosen),
        )


def _sources(fields: dict[int, bytes], family: Family) -> tuple[bytes, bytes]:
    """The source addresses of both directions of an entry."""
    kind = _source_kind(family)
    return (
        _source(fields.get(TUPLE_ORIGINAL, b""), kind),
        _source(fields.get(TUPLE_REPLY, b""), kind),
    )


def _source_kind(family: Family) -> int:
    """CTA_IP_V4_SRC or CTA_IP_V6_SRC."""
    return 1 if family is IPV4 else 3


def _identity(fields: dict[int, bytes]) -> bytes:
    """The attributes by which an entry is deleted: not another that has taken its place."""
    parts = [attribute(TUPLE_ORIGINAL | NESTED, fields[TUPLE_ORIGINAL])]
    parts += [attribute(kind, fields[kind]) for kind in (IDENTITY, ZONE) if kind in fields]
    return b"".join(parts)


def _delete(kernel: NetfilterSocket, identity: bytes, family: Family) -> bool:
    """False when it has ended by itself."""
    try:
        kernel.request(_message(DELETE, family, identity))
    except NetfilterError as error:
        if error.code != errno.ENOENT:
            raise
        return False
    return True


def _message(kind: int, family: Family, attributes: bytes) -> bytes:
    bare = encode(nfgen_msg, kind, family.number, [], subsystem=SUBSYSTEM_CONNTRACK)
    whole = bare + attributes
    return struct.pack("=I", len(whole)) + whole[4:]


def _source(connection: bytes, source: int) -> bytes:
    """The source address of a tuple."""
    for kind, ip in walk(connection):
        if kind == TUPLE_IP:
            return next((value for which, value in walk(ip) if which == source), b"")
    return b""
