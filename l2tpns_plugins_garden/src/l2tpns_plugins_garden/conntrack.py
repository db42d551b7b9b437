"""Forgetting the connections of an address.

NAT is decided on the first packet of a connection. One that was open before its subscriber was
trapped would go on past the garden, and one that the garden has taken would stay in it afterwards.
"""

import errno
import struct
from collections.abc import Callable, Collection
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
FILTERED_AT_MOST: Final = 8
"""So many addresses are asked for one by one, the kernel choosing the entries; for more, all
entries are read once."""


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

        That the kernel does not let us is reported, once.
        """
        if not self._are_tracked or not addresses:
            return 0
        try:
            if self._kernel is None:
                self._kernel = NetfilterSocket()
            return forget(self._kernel, addresses, self._family)
        except NetfilterError as error:
            self._are_tracked = False
            self._report(
                "connections that are open when a user enters or leaves the garden go on as "
                f"they were ({error}): modprobe nf_conntrack_netlink"
            )
            return 0

    def close(self) -> None:
        if self._kernel is not None:
            self._kernel.close()
            self._kernel = None


def forget(kernel: NetfilterSocket, addresses: Collection[int], family: Family = IPV4) -> int:
    """Delete the entries of all connections from or to these addresses; how many there were.

    Raises NetfilterError when the kernel cannot say what connections there are.
    """
    wanted = {address.to_bytes(family.address_length, "big") for address in addresses}
    source = 1 if family is IPV4 else 3
    doomed: dict[bytes, None] = {}
    for request in _requests(wanted, family, source):
        for body in kernel.dump(request):
            fields = dict(walk(body))
            original, reply = fields.get(TUPLE_ORIGINAL, b""), fields.get(TUPLE_REPLY, b"")
            if _source(original, source) in wanted or _source(reply, source) in wanted:
                doomed[_identity(fields)] = None
    for identity in doomed:
        _delete(kernel, identity, family)
    return len(doomed)


def _requests(wanted: Collection[bytes], family: Family, source: int) -> list[bytes]:
    bare = _message(GET, family, b"")
    if len(wanted) > FILTERED_AT_MOST:
        return [bare]
    requests = []
    for address in wanted:
        ip = attribute(TUPLE_IP | NESTED, attribute(source, address))
        for kind, flag in ((TUPLE_ORIGINAL, FILTER_ORIGINAL), (TUPLE_REPLY, FILTER_REPLY)):
            chosen = attribute(flag, struct.pack("=I", FILTER_SOURCE))
            requests.append(
                _message(
                    GET,
                    family,
                    attribute(kind | NESTED, ip) + attribute(FILTER | NESTED, chosen),
                )
            )
    return requests


def _identity(fields: dict[int, bytes]) -> bytes:
    """The attributes by which an entry is deleted: not another that has taken its place."""
    parts = [attribute(TUPLE_ORIGINAL | NESTED, fields[TUPLE_ORIGINAL])]
    parts += [attribute(kind, fields[kind]) for kind in (IDENTITY, ZONE) if kind in fields]
    return b"".join(parts)


def _delete(kernel: NetfilterSocket, identity: bytes, family: Family) -> None:
    try:
        kernel.request(_message(DELETE, family, identity))
    except NetfilterError as error:
        if error.code != errno.ENOENT:  # it ended by itself
            raise


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
