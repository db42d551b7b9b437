"""Accounting records as JSON, and back. What comes back has been checked: it is from a file."""

import json
from typing import Any, Final

from l2tpns_core.radius.model import (
    AccountingRecord,
    AccountingStatus,
    SessionIdentity,
    Usage,
)
from l2tpns_core.radius.spool.errors import SpoolError

MAX_NUMBER: Final = (1 << 64) - 1
MAX_TIME: Final = float(1 << 40)
MAX_ITEMS: Final = 64
"""Class attributes, and attributes of plugins."""
NUMBERS: Final = ("session_key", "tunnel_id", "session_id", "ip", "netmask")
TEXTS: Final = (
    "user",
    "accounting_id",
    "calling_number",
    "called_number",
    "connect_info",
    "lac_address",
)
OCTETS: Final = "octets"


def encode_record(record: AccountingRecord) -> bytes:
    """One line of ASCII without its end."""
    identity, usage = record.identity, record.usage
    fields: dict[str, object] = {"status": int(record.status), "time": record.event_time}
    if identity is not None:
        fields |= {name: getattr(identity, name) for name in (*NUMBERS, *TEXTS)}
        fields["classes"] = [value.hex() for value in identity.classes[:MAX_ITEMS]]
    if usage is not None:
        fields["usage"] = [
            usage.octets_in,
            usage.octets_out,
            usage.packets_in,
            usage.packets_out,
        ]
        fields["session_time"] = max(record.session_time, 0)
    if record.terminate_cause is not None:
        fields["cause"] = record.terminate_cause
    if record.reason:
        fields["reason"] = record.reason
    if record.extra:
        fields["extra"] = [
            [name, _plain(value)] for name, value in record.extra[:MAX_ITEMS] if name
        ]
    return json.dumps(fields, separators=(",", ":")).encode()


def _plain(value: object) -> object:
    """A value of a plugin's attribute: numbers, text and octets as they are, an address as text."""
    if isinstance(value, bytes):
        return {OCTETS: value.hex()}
    return int(value) if isinstance(value, int) else str(value)


def decode_record(line: bytes) -> AccountingRecord:
    """The record of a line. Raises SpoolError."""
    try:
        fields = json.loads(line)
        if not isinstance(fields, dict):
            raise SpoolError("not a record")
        return _record(fields)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SpoolError(f"not a record: {type(error).__name__}") from None


def _record(fields: dict[str, Any]) -> AccountingRecord:
    record = AccountingRecord(AccountingStatus(_number(fields["status"])), _time(fields["time"]))
    if "accounting_id" in fields:
        record.identity = _identity(fields)
    if "usage" in fields:
        octets_in, octets_out, packets_in, packets_out = fields["usage"]
        record.usage = Usage(
            _number(octets_in), _number(octets_out), _number(packets_in), _number(packets_out)
        )
        record.session_time = _number(fields["session_time"])
    if "cause" in fields:
        record.terminate_cause = _number(fields["cause"])
    record.reason = _text(fields.get("reason", ""))
    record.extra = [(_text(name), _value(value)) for name, value in _list(fields, "extra")]
    return record


def _identity(fields: dict[str, Any]) -> SessionIdentity:
    numbers = {name: _number(fields[name]) for name in NUMBERS}
    texts = {name: _text(fields[name]) for name in TEXTS}
    classes = tuple(bytes.fromhex(value) for value in _list(fields, "classes"))
    return SessionIdentity(**numbers, **texts, classes=classes)  # type: ignore[arg-type]


def _number(value: object) -> int:
    if type(value) is not int or not 0 <= value <= MAX_NUMBER:
        raise SpoolError("a number is out of its range")
    return value


def _time(value: object) -> float:
    if type(value) not in (int, float) or not 0 <= value <= MAX_TIME:  # type: ignore[operator]
        raise SpoolError("a time is out of its range")
    return float(value)  # type: ignore[arg-type]


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise SpoolError("a text is none")
    return value


def _list(fields: dict[str, Any], name: str) -> list[Any]:
    value = fields.get(name, [])
    if not isinstance(value, list) or len(value) > MAX_ITEMS:
        raise SpoolError(f"{name} is no list")
    return value


def _value(value: object) -> object:
    if isinstance(value, dict):
        return bytes.fromhex(value[OCTETS])
    return _text(value) if isinstance(value, str) else _number(value)
