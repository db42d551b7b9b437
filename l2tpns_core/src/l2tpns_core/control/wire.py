"""The packets of nsctl, in both formats that released programs speak.

The first format (magic 0x9012, up to release 2.0.1, the one of the manual):

    0        2       4        6           10
    | magic  | type  | length | id        | strings, each ended by a NUL

The second format (magic 0x9013, every later release):

    0        2      3      4
    | magic  | type | argc | argc times: length, octets | 0xFF

Numbers are in network order. Texts are UTF-8; other octets become surrogates, as in os.fsdecode().
Nothing but WireError leaves a decoder.
"""

import enum
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

MAGIC_FIRST: Final = 0x9012
MAGIC_SECOND: Final = 0x9013

MAX_FIRST: Final = 1400
MAX_PACKET: Final = 4096
"""Most bytes of a packet of the second format; the first one's are MAX_FIRST."""
MAX_ARGUMENTS: Final = 255
MAX_ARGUMENT_BYTES: Final = 255
"""What the length byte can say. Programs up to 2.4 send nonsense for longer arguments."""

TERMINATOR: Final = 0xFF
_FIRST: Final = struct.Struct("!HHHI")
_SECOND: Final = struct.Struct("!HBB")

FIRST_GARDEN: Final = 1000
FIRST_UNGARDEN: Final = 1001


class Fault(enum.Enum):
    """What is wrong with a packet, in the words of the client."""

    SHORT = "short packet"
    EXTRA = "extra data"
    MAGIC = "bad magic"
    TYPE = "invalid type"
    TOO_LONG = "argument too long"
    TOO_MANY = "too many arguments"
    NOT_SEALED = "not authenticated"
    WRONG_SEAL = "authentication failed"
    STALE = "authentication failed: clocks differ"
    REPLAYED = "authentication failed: repeated request"


class WireError(Exception):
    """A packet that cannot be decoded, or arguments that cannot be encoded."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.value)
        self.fault = fault


class Format(enum.Enum):
    """Which of the two formats a packet has; the answer has the same."""

    FIRST = MAGIC_FIRST
    SECOND = MAGIC_SECOND


class Kind(enum.Enum):
    """What is asked for; the values are the types of the second format."""

    LOAD = 0x11
    UNLOAD = 0x12
    HELP = 0x13
    CONTROL = 0x14


class Outcome(enum.Enum):
    """How it went; the values are the types of the second format."""

    OK = 0x21
    ERROR = 0x22


@dataclass(slots=True, frozen=True)
class Request:
    """A request as the server sees it. A command's name is the first of its words."""

    kind: Kind
    argv: tuple[str, ...]
    format: Format = Format.SECOND
    type: int = Kind.CONTROL.value
    """The number on the wire; the first format has types that only plugins know."""
    id: int = 0
    """Of the first format; the second has none."""
    data: bytes = b""
    """What follows the header."""


@dataclass(slots=True, frozen=True)
class Reply:
    """The answer to a request, a line of text for each argument."""

    outcome: Outcome
    lines: tuple[str, ...] = ()

    @classmethod
    def error(cls, text: str) -> "Reply":
        return cls(Outcome.ERROR, (text,))


_FIRST_REQUESTS: Final = {5: Kind.LOAD, 6: Kind.UNLOAD}
_FIRST_COMMANDS: Final = {FIRST_GARDEN: "garden", FIRST_UNGARDEN: "ungarden"}
_FIRST_OUTCOMES: Final = {1: Outcome.OK, 2: Outcome.ERROR}
_FIRST_TYPES: Final = {outcome: number for number, outcome in _FIRST_OUTCOMES.items()}
_SECOND_REQUESTS: Final = {kind.value: kind for kind in Kind}
_SECOND_OUTCOMES: Final = {outcome.value: outcome for outcome in Outcome}


def format_of(datagram: bytes) -> Format:
    """The format that a packet claims to have. Raises WireError."""
    if len(datagram) < 2:
        raise WireError(Fault.SHORT)
    try:
        return Format(int.from_bytes(datagram[:2]))
    except ValueError:
        raise WireError(Fault.MAGIC) from None


def is_reply(datagram: bytes) -> bool:
    """Whether a packet claims to be a reply, however broken. A server answers none: two servers
    would otherwise answer each other for ever."""
    if datagram[:2] == MAGIC_SECOND.to_bytes(2):
        return len(datagram) > 2 and datagram[2] in _SECOND_OUTCOMES
    if datagram[:2] == MAGIC_FIRST.to_bytes(2):
        return int.from_bytes(datagram[2:4]) in _FIRST_OUTCOMES
    return False


def decode_request(datagram: bytes) -> Request:
    """A request of either format. Raises WireError, also for a reply."""
    if format_of(datagram) is Format.FIRST:
        return _decode_first_request(datagram)
    number, argv = _decode_second(datagram)
    kind = _SECOND_REQUESTS.get(number)
    if kind is None:
        raise WireError(Fault.TYPE)
    return Request(kind, argv, type=number, data=datagram[_SECOND.size :])


def decode_reply(datagram: bytes) -> Reply:
    """A reply of either format. Raises WireError, also for a request."""
    if format_of(datagram) is Format.FIRST:
        number, _, data = _decode_first(datagram)
        outcome = _FIRST_OUTCOMES.get(number)
        lines = _strings(data)
    else:
        number, lines = _decode_second(datagram)
        outcome = _SECOND_OUTCOMES.get(number)
    if outcome is None:
        raise WireError(Fault.TYPE)
    return Reply(outcome, lines)


def encode_request(kind: Kind, argv: Sequence[str]) -> bytes:
    """A request of the second format. Raises WireError when it has too much to say."""
    return _encode_second(kind.value, [_octets(word) for word in argv])


def encode_first_request(number: int, request_id: int, argv: Iterable[str]) -> bytes:
    """A request of the first format. Raises WireError when it has too much to say."""
    data = b"".join(_octets(word).replace(b"\0", b"") + b"\0" for word in argv)
    length = _FIRST.size + len(data)
    if length > MAX_FIRST:
        raise WireError(Fault.TOO_LONG)
    return _FIRST.pack(MAGIC_FIRST, number & 0xFFFF, length, request_id & 0xFFFFFFFF) + data


def encode_reply(reply: Reply, to: Request) -> bytes:
    """A reply in the format of the request `to`; what does not fit into a packet is left out."""
    return encode_reply_as(reply, to.format, to.id)


def encode_reply_as(reply: Reply, wire_format: Format, request_id: int = 0) -> bytes:
    """encode_reply() for a request that could not be decoded."""
    is_first = wire_format is Format.FIRST
    room = MAX_FIRST - _FIRST.size if is_first else MAX_PACKET - _SECOND.size - 1
    octets = []
    for line in reply.lines[:MAX_ARGUMENTS]:
        cut = _cut(_octets(line).replace(b"\0", b""))
        room -= len(cut) + 1
        if room < 0:
            break
        octets.append(cut)
    if not is_first:
        return _encode_second(reply.outcome.value, octets)
    data = b"".join(line + b"\0" for line in octets)
    number, length = _FIRST_TYPES[reply.outcome], _FIRST.size + len(data)
    return _FIRST.pack(MAGIC_FIRST, number, length, request_id) + data


def fits(lines: Sequence[str]) -> bool:
    """Whether a reply can carry all of these lines in either format."""
    sizes = [len(_octets(line)) for line in lines]
    return (
        len(sizes) <= MAX_ARGUMENTS
        and max(sizes, default=0) <= MAX_ARGUMENT_BYTES
        and sum(sizes) + len(sizes) <= MAX_FIRST - _FIRST.size
    )


def _decode_first_request(datagram: bytes) -> Request:
    number, request_id, data = _decode_first(datagram)
    if number in _FIRST_OUTCOMES:
        raise WireError(Fault.TYPE)
    kind = _FIRST_REQUESTS.get(number, Kind.CONTROL)
    argv = _strings(data)
    command = _FIRST_COMMANDS.get(number)
    if command is not None:
        argv = (command, *argv)
    elif kind is Kind.CONTROL:
        argv = ()  # a type of some plugin's own: it alone knows what `data` means
    return Request(kind, argv, Format.FIRST, number, request_id, data)


def _decode_first(datagram: bytes) -> tuple[int, int, bytes]:
    """Type, id and data of a packet of the first format."""
    if len(datagram) < _FIRST.size:
        raise WireError(Fault.SHORT)
    _, number, length, request_id = _FIRST.unpack_from(datagram)
    if length > len(datagram) or length < _FIRST.size:
        raise WireError(Fault.SHORT)
    if length < len(datagram) or length > MAX_FIRST:
        raise WireError(Fault.EXTRA)
    return number, request_id, datagram[_FIRST.size :]


def _decode_second(datagram: bytes) -> tuple[int, tuple[str, ...]]:
    """Type and arguments of a packet of the second format."""
    if len(datagram) > MAX_PACKET:
        raise WireError(Fault.EXTRA)
    if len(datagram) <= _SECOND.size:
        raise WireError(Fault.SHORT)
    _, number, count = _SECOND.unpack_from(datagram)
    argv, at = [], _SECOND.size
    for _ in range(count):
        end = at + 1 + datagram[at]
        if end >= len(datagram):
            raise WireError(Fault.SHORT)
        argv.append(_text(datagram[at + 1 : end]))
        at = end
    if datagram[at] != TERMINATOR:
        raise WireError(Fault.SHORT)
    if at + 1 != len(datagram):
        raise WireError(Fault.EXTRA)
    return number, tuple(argv)


def _encode_second(number: int, argv: Sequence[bytes]) -> bytes:
    if len(argv) > MAX_ARGUMENTS:
        raise WireError(Fault.TOO_MANY)
    if any(len(word) > MAX_ARGUMENT_BYTES for word in argv):
        raise WireError(Fault.TOO_LONG)
    body = b"".join(bytes((len(word),)) + word for word in argv)
    packet = _SECOND.pack(MAGIC_SECOND, number, len(argv)) + body + bytes((TERMINATOR,))
    if len(packet) > MAX_PACKET:
        raise WireError(Fault.TOO_LONG)
    return packet


def _strings(data: bytes) -> tuple[str, ...]:
    """Consecutive strings; the last one may lack its NUL."""
    if not data:
        return ()
    return tuple(_text(part) for part in data.removesuffix(b"\0").split(b"\0"))


def _text(octets: bytes) -> str:
    return octets.decode(errors="surrogateescape")


def _octets(text: str) -> bytes:
    try:
        return text.encode(errors="surrogateescape")
    except UnicodeEncodeError:  # half a pair of UTF-16, which no octets stand for
        return text.encode(errors="replace")


def _cut(octets: bytes) -> bytes:
    """As much as an argument can hold, no character torn apart."""
    if len(octets) <= MAX_ARGUMENT_BYTES:
        return octets
    end = MAX_ARGUMENT_BYTES
    while end > MAX_ARGUMENT_BYTES - 4 and octets[end] & 0xC0 == 0x80:
        end -= 1
    return octets[:end]
