"""AVP values that are more than a number or a string, and how each format is read and written.

A reader gets the bytes of one value and raises L2tpError when they are not of the format; a writer
is its inverse.
"""

import enum
import struct
from collections.abc import Callable
from typing import Final, NamedTuple

from l2tpns_core.l2tp.codes import DisconnectCause, GeneralError, StopResult
from l2tpns_core.l2tp.errors import L2tpError

MAX_TEXT_BYTES: Final = 253
"""Longest text that we send, and longest (in characters) that we keep of a peer's: what a RADIUS
attribute holds."""


class ResultCode(NamedTuple):
    """Why a tunnel or call ends (section 4.4.2). `error` says more about `result`."""

    result: int
    error: int = 0
    text: str = ""


class Q931Cause(NamedTuple):
    """What the switch said about the end of a call (section 4.4.6)."""

    cause: int
    message: int
    text: str = ""


class CallErrors(NamedTuple):
    """Errors of the line since the call began (section 4.4.6)."""

    crc_errors: int
    framing_errors: int
    hardware_overruns: int
    buffer_overruns: int
    timeout_errors: int
    alignment_errors: int


class Accm(NamedTuple):
    """Control characters to escape on an asynchronous line (section 4.4.6)."""

    send: int
    receive: int


Value = int | str | bytes | ResultCode | Q931Cause | CallErrors | Accm | DisconnectCause


class Format(enum.Enum):
    """How the value of an AVP is laid out."""

    FLAG = "nothing"
    UINT16 = "2 bytes"
    UINT32 = "4 bytes"
    SPEED = "4 bytes, or decimal digits from some LACs"
    UINT64 = "8 bytes"
    TEXT = "UTF-8 text, may be empty"
    NAME = "UTF-8 text, not empty"
    BYTES = "any bytes"
    SEED = "any bytes, at least one"
    DIGEST = "16 bytes"
    RESULT_CODE = "result code, error code and text"
    Q931_CAUSE = "cause, message and text"
    CALL_ERRORS = "2 reserved bytes and 6 counters"
    ACCM = "2 reserved bytes and 2 maps"
    DISCONNECT_CAUSE = "code, protocol, direction and text"


_U16: Final = struct.Struct("!H")
_U32: Final = struct.Struct("!I")
_U64: Final = struct.Struct("!Q")
_ERRORS: Final = struct.Struct("!2x6I")
_ACCM: Final = struct.Struct("!2x2I")
_RESULT: Final = struct.Struct("!HH")
_Q931: Final = struct.Struct("!HB")
_DISCONNECT: Final = struct.Struct("!HHB")
_DIGEST_BYTES: Final = 16
_MAX_SPEED_DIGITS: Final = 18


def wrong_length(size: int) -> L2tpError:
    """The error for a value of a size that its format does not have."""
    text = f"value of {size} bytes"
    return L2tpError(StopResult.GENERAL_ERROR, GeneralError.WRONG_LENGTH, text)


def printable(raw: bytes) -> str:
    """Text of a peer as it may reach logs, RADIUS and terminals: what is not UTF-8 or not printable
    is escaped, and what is too long is cut."""
    text = raw.decode("utf-8", "backslashreplace")
    if not text.isprintable():
        text = "".join(c if c.isprintable() else _escaped(c) for c in text)
    return text[:MAX_TEXT_BYTES]


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def encode_text(text: str) -> bytes:
    """Text as UTF-8, cut at a character where it gets too long."""
    raw = text.encode("utf-8", "backslashreplace")
    if len(raw) > MAX_TEXT_BYTES:
        raw = raw[:MAX_TEXT_BYTES].decode("utf-8", "ignore").encode()
    return raw


def _read_flag(raw: bytes) -> int:
    if raw:
        raise wrong_length(len(raw))
    return 1


def _number_reader(form: struct.Struct) -> Callable[[bytes], int]:
    size, unpack = form.size, form.unpack

    def read(raw: bytes) -> int:
        if len(raw) != size:
            raise wrong_length(len(raw))
        return int(unpack(raw)[0])

    return read


def _read_speed(raw: bytes) -> int:
    """Cisco's AS5300 writes digits instead of the number."""
    if len(raw) == _U32.size:
        return int(_U32.unpack(raw)[0])
    if raw.isdigit() and len(raw) <= _MAX_SPEED_DIGITS:
        return int(raw)
    raise wrong_length(len(raw))


def _read_bytes(raw: bytes) -> bytes:
    return raw


def _read_seed(raw: bytes) -> bytes:
    if not raw:
        raise wrong_length(0)
    return raw


def _read_name(raw: bytes) -> str:
    return printable(_read_seed(raw))


def _read_digest(raw: bytes) -> bytes:
    if len(raw) != _DIGEST_BYTES:
        raise wrong_length(len(raw))
    return raw


def _read_result(raw: bytes) -> ResultCode:
    size = len(raw)
    if size == _U16.size:  # the error code is optional
        return ResultCode(int(_U16.unpack(raw)[0]))
    if size < _RESULT.size:
        raise wrong_length(size)
    result, error = _RESULT.unpack_from(raw)
    return ResultCode(result, error, printable(raw[_RESULT.size :]))


def _read_q931(raw: bytes) -> Q931Cause:
    if len(raw) < _Q931.size:
        raise wrong_length(len(raw))
    cause, message = _Q931.unpack_from(raw)
    return Q931Cause(cause, message, printable(raw[_Q931.size :]))


def _read_call_errors(raw: bytes) -> CallErrors:
    if len(raw) != _ERRORS.size:
        raise wrong_length(len(raw))
    return CallErrors(*_ERRORS.unpack(raw))


def _read_accm(raw: bytes) -> Accm:
    if len(raw) != _ACCM.size:
        raise wrong_length(len(raw))
    return Accm(*_ACCM.unpack(raw))


def _read_disconnect(raw: bytes) -> DisconnectCause:
    if len(raw) < _DISCONNECT.size:
        raise wrong_length(len(raw))
    code, protocol, direction = _DISCONNECT.unpack_from(raw)
    return DisconnectCause(code, protocol, direction, printable(raw[_DISCONNECT.size :]))


READERS: Final[dict[Format, Callable[[bytes], Value]]] = {
    Format.FLAG: _read_flag,
    Format.UINT16: _number_reader(_U16),
    Format.UINT32: _number_reader(_U32),
    Format.SPEED: _read_speed,
    Format.UINT64: _number_reader(_U64),
    Format.TEXT: printable,
    Format.NAME: _read_name,
    Format.BYTES: _read_bytes,
    Format.SEED: _read_seed,
    Format.DIGEST: _read_digest,
    Format.RESULT_CODE: _read_result,
    Format.Q931_CAUSE: _read_q931,
    Format.CALL_ERRORS: _read_call_errors,
    Format.ACCM: _read_accm,
    Format.DISCONNECT_CAUSE: _read_disconnect,
}


def _write_result(value: ResultCode) -> bytes:
    """The error code is left out when there is nothing to say, as every implementation does."""
    if not value.error and not value.text:
        return _U16.pack(value.result)
    return _RESULT.pack(value.result, value.error) + encode_text(value.text)


def _write_q931(value: Q931Cause) -> bytes:
    return _Q931.pack(value.cause, value.message) + encode_text(value.text)


def _write_disconnect(value: DisconnectCause) -> bytes:
    head = _DISCONNECT.pack(value.code, value.protocol, value.direction)
    return head + encode_text(value.message)


WRITERS: Final[dict[Format, Callable[..., bytes]]] = {
    Format.FLAG: lambda value: b"",
    Format.UINT16: _U16.pack,
    Format.UINT32: _U32.pack,
    Format.SPEED: _U32.pack,
    Format.UINT64: _U64.pack,
    Format.TEXT: encode_text,
    Format.NAME: encode_text,
    Format.BYTES: bytes,
    Format.SEED: bytes,
    Format.DIGEST: bytes,
    Format.RESULT_CODE: _write_result,
    Format.Q931_CAUSE: _write_q931,
    Format.CALL_ERRORS: lambda value: _ERRORS.pack(*value),
    Format.ACCM: lambda value: _ACCM.pack(*value),
    Format.DISCONNECT_CAUSE: _write_disconnect,
}
