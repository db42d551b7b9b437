"""Who in the kernel's IP stack would look at packets that are forwarded: firewalls, connection
tracking, IPsec, rules of policy routing, virtual servers, somebody with tcpdump. While there is
nobody, the data plane may have packets pass by the stack.

Netlink is spoken here without a library: the questions are asked several times a second, and each
is one message of a few octets.
"""

import contextlib
import errno
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

NETLINK_XFRM: Final = 6
NETLINK_NETFILTER: Final = 12
NLM_F_REQUEST: Final = 0x1
NLM_F_DUMP: Final = 0x300
NLMSG_ERROR: Final = 2
NLMSG_DONE: Final = 3
HEADER: Final = struct.Struct("=IHHII")
ATTRIBUTE: Final = struct.Struct("=HH")
ATTRIBUTE_TYPE: Final = 0x3FFF
RECEIVE: Final = 1 << 16

NFNL_NFTABLES: Final = 10 << 8
NFT_GETCHAIN: Final = NFNL_NFTABLES | 4
NFT_GETGEN: Final = NFNL_NFTABLES | 16
NFGENMSG: Final = struct.Struct("=BBH")
NFTA_GEN_ID: Final = 1
NFTA_CHAIN_TABLE: Final = 1
NFTA_CHAIN_NAME: Final = 3
NFTA_CHAIN_HOOK: Final = 4
NFTA_CHAIN_POLICY: Final = 5
NFTA_CHAIN_USE: Final = 6
NFTA_HOOK_NUMBER: Final = 1
NF_ACCEPT: Final = 1
NFPROTO_INET: Final = 1
NFPROTO_IPV4: Final = 2
NFPROTO_NETDEV: Final = 5
PREROUTING: Final = 0
FORWARD: Final = 2
POSTROUTING: Final = 4
INET_INGRESS: Final = 5
HOOKS: Final = {
    NFPROTO_INET: {PREROUTING, FORWARD, POSTROUTING, INET_INGRESS},
    NFPROTO_IPV4: {PREROUTING, FORWARD, POSTROUTING},
    NFPROTO_NETDEV: {0, 1},
}
"""Where packets that are forwarded come by, by family. What others see is not ours."""

XFRM_GETSPDINFO: Final = 0x25
XFRMA_SPD_INFO: Final = 1
SPD_INFO: Final = struct.Struct("=III")
"""How many policies: inwards, outwards, forwarded."""

RTM_GETRULE: Final = 34
FIB_RULE: Final = struct.Struct("=BBBBBBBBI")
"""family, dst_len, src_len, tos, table, two reserved, action, flags"""
FRA_TABLE: Final = 15
FRA_PRIORITY: Final = 6
FRA_SUPPRESS_PREFIX_LENGTH: Final = 14
FRA_PROTOCOL: Final = 21
PLAIN_RULE: Final = frozenset({FRA_TABLE, FRA_PRIORITY, FRA_SUPPRESS_PREFIX_LENGTH, FRA_PROTOCOL})
"""Attributes of a rule that asks nothing of a packet."""
NOT_SUPPRESSED: Final = b"\xff\xff\xff\xff"
LOOK_UP: Final = 1
USUAL_TABLES: Final = frozenset({255, 254, 253})

IP_TABLES_NAMES: Final = "net/ip_tables_names"
PACKET_SOCKETS: Final = "net/packet"
VIRTUAL_SERVERS: Final = "net/ip_vs"
VIRTUAL_SERVERS_HEADING: Final = 3
"""Lines that are there without any server."""
PROCESS: Final = Path("/proc/thread-self")
"""What the kernel tells about the network namespace of whoever asks."""


class OldTables:
    """The tables of the old iptables, which only root may ask for: whoever becomes another user
    makes this object before."""

    def __init__(self, process: Path = PROCESS) -> None:
        self._path = process / IP_TABLES_NAMES
        self._file: BinaryIO | None = None
        with contextlib.suppress(OSError):  # it may come to be there later
            self._file = self._path.open("rb", buffering=0)

    def names(self) -> list[str]:
        """Raises OSError."""
        if self._file is None:
            try:
                self._file = self._path.open("rb", buffering=0)
            except FileNotFoundError:
                return []
        self._file.seek(0)
        return self._file.read().decode(errors="replace").splitlines()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


class Onlookers:
    """Finds them. `device` is the index of the TUN device."""

    def __init__(self, device: int, old_tables: OldTables, process: Path = PROCESS) -> None:
        self._device = device
        self._process = process
        self._tables = old_tables
        self._generation: bytes | None = None
        self._chain = ""

    def find(self) -> str:
        """In a few words who would see a packet, or "" for nobody. Where the kernel does not
        answer, somebody might."""
        try:
            return (
                self._old_tables()
                or self._virtual_servers()
                or self._packet_sockets()
                or self._chains()
                or self._policies()
                or self._rules()
            )
        except OSError as error:
            return f"the kernel does not tell who sees packets: {error.strerror}"

    def _lines(self, name: str) -> list[str]:
        try:
            return (self._process / name).read_text().splitlines()
        except FileNotFoundError:
            return []

    def _old_tables(self) -> str:
        names = self._tables.names()
        return f"iptables has the table {names[0]} (legacy)" if names else ""

    def _virtual_servers(self) -> str:
        servers = self._lines(VIRTUAL_SERVERS)[VIRTUAL_SERVERS_HEADING:]
        return "there are virtual servers (IPVS)" if servers else ""

    def _packet_sockets(self) -> str:
        """Somebody who captures on the TUN device, or on all."""
        for line in self._lines(PACKET_SOCKETS)[1:]:
            index = line.split()[4]
            if index in ("0", str(self._device)):
                return "somebody captures packets"
        return ""

    def _chains(self) -> str:
        """A chain of nftables with rules, or one that does not accept."""
        generation = b""
        try:
            for _, body in ask(NETLINK_NETFILTER, NFT_GETGEN, NFGENMSG.pack(0, 0, 0), dump=False):
                generation = dict(attributes(body[NFGENMSG.size :])).get(NFTA_GEN_ID, b"")
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.EOPNOTSUPP, errno.EPROTONOSUPPORT):
                return ""  # no nftables
            raise
        if not generation or generation != self._generation:
            self._chain = self._find_chain()
            self._generation = generation
        return self._chain

    def _find_chain(self) -> str:
        for _, body in ask(NETLINK_NETFILTER, NFT_GETCHAIN, NFGENMSG.pack(0, 0, 0)):
            family = body[0]
            chain = dict(attributes(body[NFGENMSG.size :]))
            hook = dict(attributes(chain.get(NFTA_CHAIN_HOOK, b"")))
            number = int.from_bytes(hook.get(NFTA_HOOK_NUMBER, b"\xff"), "big")
            policy = int.from_bytes(chain.get(NFTA_CHAIN_POLICY, b"\1"), "big")
            rules = int.from_bytes(chain.get(NFTA_CHAIN_USE, b"\1"), "big")
            if number in HOOKS.get(family, ()) and (rules or policy != NF_ACCEPT):
                table, name = (
                    chain.get(what, b"").rstrip(b"\0").decode(errors="replace")
                    for what in (NFTA_CHAIN_TABLE, NFTA_CHAIN_NAME)
                )
                return f"nftables has the chain {name} in the table {table}"
        return ""

    def _policies(self) -> str:
        try:
            for _, body in ask(NETLINK_XFRM, XFRM_GETSPDINFO, bytes(4), dump=False):
                found = dict(attributes(body[4:])).get(XFRMA_SPD_INFO, b"")
                if len(found) < SPD_INFO.size or any(SPD_INFO.unpack_from(found)[1:]):
                    return "there are IPsec policies"
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EPROTONOSUPPORT):
                raise
        return ""

    def _rules(self) -> str:
        for _, body in ask(
            socket.NETLINK_ROUTE, RTM_GETRULE, FIB_RULE.pack(socket.AF_INET, *[0] * 8)
        ):
            _, to, source, tos, table, _, _, action, _ = FIB_RULE.unpack_from(body)
            asked = dict(attributes(body[FIB_RULE.size :]))
            special = to or source or tos or table not in USUAL_TABLES or action != LOOK_UP
            suppressed = asked.get(FRA_SUPPRESS_PREFIX_LENGTH, NOT_SUPPRESSED) != NOT_SUPPRESSED
            if special or suppressed or asked.keys() - PLAIN_RULE:
                return "there are rules of policy routing"
        return ""


def ask(protocol: int, kind: int, body: bytes, *, dump: bool = True) -> Iterator[tuple[int, bytes]]:
    """Ask the kernel by netlink: (type, body) of each message of its answer. Raises OSError."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol) as kernel:
        kernel.settimeout(1.0)
        flags = NLM_F_REQUEST | (NLM_F_DUMP if dump else 0)
        kernel.send(HEADER.pack(HEADER.size + len(body), kind, flags, 1, 0) + body)
        more = True
        while more:
            answer = kernel.recv(RECEIVE)
            at = 0
            while at + HEADER.size <= len(answer):
                length, found, *_ = HEADER.unpack_from(answer, at)
                part = answer[at + HEADER.size : at + length]
                if found == NLMSG_DONE or length < HEADER.size:
                    return
                if found == NLMSG_ERROR:
                    number = -int.from_bytes(part[:4], "little", signed=True)
                    if number:
                        raise OSError(number, errno.errorcode.get(number, str(number)))
                    return
                yield found, part
                at += (length + 3) & ~3
            more = dump


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The attributes of a netlink message, (type, value)."""
    at = 0
    while at + ATTRIBUTE.size <= len(data):
        length, kind = ATTRIBUTE.unpack_from(data, at)
        if length < ATTRIBUTE.size:
            return
        yield kind & ATTRIBUTE_TYPE, data[at + ATTRIBUTE.size : at + length]
        at += (length + 3) & ~3
