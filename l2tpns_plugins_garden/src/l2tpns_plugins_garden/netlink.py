"""What is said to netfilter: nfnetlink messages, transactions and dumps over one socket.

Messages are made with pyroute2's classes; what the kernel answers is walked attribute by attribute,
because it holds rules of others, with expressions that nobody here has to understand.
The kernel does what a message asks before send() returns, so every answer is there to be read then.
"""

import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator
from typing import Any, Final

from pyroute2.netlink.nfnetlink import nfgen_msg

NETLINK_NETFILTER: Final = 12
SUBSYSTEM_NFTABLES: Final = 10
BATCH_BEGIN, BATCH_END = 16, 17
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 0x1, 0x4, 0x300
NLM_F_DUMP_INTR: Final = 0x10
NFTA_GEN_ID: Final = 1
MSG_NEWGEN, MSG_GETGEN = 15, 16
HEADER: Final = struct.Struct("=IHHII")
ATTRIBUTE: Final = struct.Struct("=HH")
NFGEN_LENGTH: Final = 4
TYPE_MASK: Final = 0x3FFF
SEND_BUFFER: Final = 8 << 20
"""Bytes that one transaction may have: 65,535 members take one megabyte."""
RECEIVE_SIZE: Final = 1 << 18
SO_SNDBUFFORCE: Final = getattr(socket, "SO_SNDBUFFORCE", 32)
SO_RCVBUFFORCE: Final = getattr(socket, "SO_RCVBUFFORCE", 33)
DUMP_ATTEMPTS: Final = 5

Attributes = list[tuple[str, Any]]
Walk = Iterator[tuple[int, bytes]]


class NetfilterError(Exception):
    """The kernel refused; `code` is its errno."""

    def __init__(self, code: int, doing: str) -> None:
        super().__init__(f"{doing}: {os.strerror(code)}")
        self.code = code


def encode(
    message_class: type[Any],
    kind: int,
    family: int,
    attributes: Attributes,
    flags: int = 0,
    subsystem: int = SUBSYSTEM_NFTABLES,
) -> bytes:
    """One message, with sequence number 0."""
    message = message_class()
    message["nfgen_family"] = family
    message["version"] = 0
    message["res_id"] = 0
    message["attrs"] = attributes
    message["header"]["type"] = subsystem << 8 | kind
    message["header"]["flags"] = NLM_F_REQUEST | flags
    message["header"]["pid"] = message["header"]["sequence_number"] = 0
    message.encode()
    return bytes(message.data)


def attribute(kind: int, payload: bytes) -> bytes:
    """One attribute, padded."""
    length = ATTRIBUTE.size + len(payload)
    return ATTRIBUTE.pack(length, kind) + payload + bytes(-length & 3)


def walk(data: bytes) -> Walk:
    """The attributes in `data` as (type without flags, payload)."""
    offset, end = 0, len(data)
    while offset + ATTRIBUTE.size <= end:
        length, kind = ATTRIBUTE.unpack_from(data, offset)
        if length < ATTRIBUTE.size or offset + length > end:
            return
        yield kind & TYPE_MASK, data[offset + ATTRIBUTE.size : offset + length]
        offset += length + 3 & ~3


def text(payload: bytes) -> str:
    """A string attribute."""
    return payload.rstrip(b"\0").decode("utf-8", "replace")


class NetfilterSocket:
    """A NETLINK_NETFILTER socket, of the network namespace in which it is made.

    Every method raises NetfilterError when the kernel refuses. One thread at a time.
    """

    def __init__(self) -> None:
        try:
            self._socket = socket.socket(
                socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER
            )
        except OSError as error:
            raise NetfilterError(error.errno or errno.EIO, "opening netfilter") from error
        self._socket.bind((0, 0))
        self._sequence = 0
        for option in (SO_SNDBUFFORCE, SO_RCVBUFFORCE):
            try:
                self._socket.setsockopt(socket.SOL_SOCKET, option, SEND_BUFFER)
            except PermissionError:
                pass  # the first transaction will be refused too, and says so

    def close(self) -> None:
        self._socket.close()

    def generation(self) -> int:
        """The number of the rule set as it is; every change by anybody makes it another."""
        for _kind, body in self.request(encode(nfgen_msg, MSG_GETGEN, 0, [])):
            for kind, payload in walk(body):
                if kind == NFTA_GEN_ID:
                    return int.from_bytes(payload, "big")
        raise NetfilterError(errno.EPROTO, "asking for the generation of the rule set")

    def transaction(self, messages: Iterable[bytes], generation: int = 0) -> None:
        """Have all messages carried out, or none. With a `generation`, only if the rule set is
        still that one (else the error is ERESTART)."""
        body = list(messages)
        begin = _batch_mark(BATCH_BEGIN, generation)
        body[-1] = _with_flags(body[-1], NLM_F_ACK)
        numbered = [self._number(message) for message in (begin, *body)]
        numbered.append(self._number(_batch_mark(BATCH_END)))
        self._send(b"".join(numbered))
        self._collect("changing the rule set")

    def request(self, message: bytes) -> list[tuple[int, bytes]]:
        """What the kernel answers to a message that is no dump, as (type, body)."""
        self._send(self._number(_with_flags(message, NLM_F_ACK)))
        return self._collect("asking netfilter")

    def dump(self, message: bytes) -> list[bytes]:
        """The bodies (attributes) of all that a dump brings. One that others disturb is begun
        anew."""
        for _attempt in range(DUMP_ATTEMPTS):
            self._send(self._number(_with_flags(message, NLM_F_DUMP)))
            bodies, disturbed = self._read_dump()
            if not disturbed:
                break
        return bodies

    def _read_dump(self) -> tuple[list[bytes], bool]:
        bodies: list[bytes] = []
        disturbed = False
        while True:
            try:
                data = self._socket.recv(RECEIVE_SIZE)
            except OSError as error:
                raise NetfilterError(error.errno or errno.EIO, "reading from netfilter") from error
            for kind, flags, body in _split(data):
                disturbed = disturbed or bool(flags & NLM_F_DUMP_INTR)
                if kind == NLMSG_DONE:
                    return bodies, disturbed
                if kind == NLMSG_ERROR:
                    raise NetfilterError(_error_code(body), "reading from netfilter")
                bodies.append(body[NFGEN_LENGTH:])

    def _collect(self, doing: str) -> list[tuple[int, bytes]]:
        answers = []
        failure = 0
        while True:
            try:
                data = self._socket.recv(RECEIVE_SIZE, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            for kind, _flags, body in _split(data):
                if kind == NLMSG_ERROR:
                    failure = failure or _error_code(body)
                elif kind != NLMSG_DONE:
                    answers.append((kind & 0xFF, body[NFGEN_LENGTH:]))
        if failure:
            raise NetfilterError(failure, doing)
        return answers

    def _send(self, data: bytes) -> None:
        try:
            self._socket.send(data)
        except OSError as error:
            raise NetfilterError(error.errno or errno.EIO, "asking netfilter") from error

    def _number(self, message: bytes) -> bytes:
        self._sequence = self._sequence + 1 & 0xFFFFFFFF
        return message[:8] + struct.pack("=I", self._sequence) + message[12:]


def _batch_mark(kind: int, generation: int = 0) -> bytes:
    body = b"\0\0" + SUBSYSTEM_NFTABLES.to_bytes(2, "big")
    if generation:
        body += attribute(NFTA_GEN_ID, generation.to_bytes(4, "big"))
    return HEADER.pack(HEADER.size + len(body), kind, NLM_F_REQUEST, 0, 0) + body


def _with_flags(message: bytes, flags: int) -> bytes:
    length, kind, old, sequence, pid = HEADER.unpack_from(message)
    return HEADER.pack(length, kind, old | flags, sequence, pid) + message[HEADER.size :]


def _split(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    offset = 0
    while offset + HEADER.size <= len(data):
        length, kind, flags, _sequence, _pid = HEADER.unpack_from(data, offset)
        if length < HEADER.size:
            return
        yield kind, flags, data[offset + HEADER.size : offset + length]
        offset += length + 3 & ~3


def _error_code(body: bytes) -> int:
    return int(-struct.unpack_from("=i", body)[0])
