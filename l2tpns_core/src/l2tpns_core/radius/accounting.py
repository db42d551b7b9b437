"""Accounting-Request from a record (RFC 2866, 2869)."""

import logging
from typing import Final

from l2tpns_core.radius.attributes import (
    BY_RADIUS,
    CISCO,
    UINT32_MASK,
    Attr,
    Nas,
    encode_identity,
    encode_nas,
    encode_number,
    encode_text,
    text_octets,
)
from l2tpns_core.radius.dictionary import DictionaryError, encode_named
from l2tpns_core.radius.model import (
    AccountingRecord,
    AccountingStatus,
    SessionIdentity,
    Usage,
)
from l2tpns_core.radius.wire import (
    HEADER,
    MAX_PACKET_OCTETS,
    MAX_VALUE_OCTETS,
    MAX_VENDOR_VALUE_OCTETS,
    encode_attribute,
    encode_vendor_attribute,
)

log = logging.getLogger("l2tpns.radius")

CISCO_AVPAIR: Final = 1
MAX_CLASS_ATTRIBUTES: Final = 8


class AccountingAttributes:
    """The attributes of one record, encoded once; only Acct-Delay-Time follows the clock."""

    __slots__ = ("_after", "_before", "_event_time")

    def __init__(self, record: AccountingRecord, nas: Nas) -> None:
        self._event_time = record.event_time
        self._before = _before_delay(record)
        after = _after_delay(record)
        tail = encode_nas(nas)
        if record.identity is not None:
            tail = encode_identity(record.identity, nas)
        room = MAX_PACKET_OCTETS - HEADER.size - len(self._before) - 6 - len(after) - len(tail)
        self._after = after + _encode_extra(record, room) + tail

    def encode(self, wall_time: float) -> bytes:
        """The attributes as they are sent at a Unix time."""
        delay = min(max(int(wall_time - self._event_time), 0), UINT32_MASK)
        return self._before + encode_number(Attr.ACCT_DELAY_TIME, delay) + self._after


def _before_delay(record: AccountingRecord) -> bytes:
    identity = record.identity
    if identity is None:
        # Every request has an Acct-Session-Id; no session has the unique number 0.
        session_id = f"{0:08X}{int(record.event_time) & UINT32_MASK:08X}"
        user = b""
    else:
        session_id = identity.accounting_id
        user = encode_text(Attr.USER_NAME, identity.user)
    return (
        user
        + encode_number(Attr.ACCT_STATUS_TYPE, record.status)
        + encode_text(Attr.ACCT_SESSION_ID, session_id)
        + encode_number(Attr.EVENT_TIMESTAMP, int(record.event_time))
    )


def _after_delay(record: AccountingRecord) -> bytes:
    if record.identity is None:
        return b""
    octets = _encode_session(record.identity)
    if record.usage is not None:
        octets += _encode_usage(record.usage)
        octets += encode_number(Attr.ACCT_SESSION_TIME, max(record.session_time, 0))
    if record.terminate_cause is not None:
        octets += encode_number(Attr.ACCT_TERMINATE_CAUSE, record.terminate_cause)
    if record.status is AccountingStatus.STOP and record.reason:
        reason = text_octets(f"disc-cause-ext={record.reason}")[:MAX_VENDOR_VALUE_OCTETS]
        octets += encode_vendor_attribute(CISCO, CISCO_AVPAIR, reason)
    for value in record.identity.classes[:MAX_CLASS_ATTRIBUTES]:
        octets += encode_attribute(Attr.CLASS, value[:MAX_VALUE_OCTETS])
    return octets


def _encode_session(identity: SessionIdentity) -> bytes:
    return encode_text(Attr.ACCT_MULTI_SESSION_ID, identity.accounting_id) + encode_number(
        Attr.ACCT_AUTHENTIC, BY_RADIUS
    )


def _encode_usage(usage: Usage) -> bytes:
    """Octets in two halves of 32 bits (RFC 2869 section 5.1); packets wrap around."""
    return b"".join(
        (
            encode_number(Attr.ACCT_INPUT_OCTETS, usage.octets_in),
            encode_number(Attr.ACCT_OUTPUT_OCTETS, usage.octets_out),
            encode_number(Attr.ACCT_INPUT_PACKETS, usage.packets_in),
            encode_number(Attr.ACCT_OUTPUT_PACKETS, usage.packets_out),
            encode_number(Attr.ACCT_INPUT_GIGAWORDS, usage.octets_in >> 32),
            encode_number(Attr.ACCT_OUTPUT_GIGAWORDS, usage.octets_out >> 32),
        )
    )


def _encode_extra(record: AccountingRecord, room: int) -> bytes:
    """The attributes that plugins added, as far as they are valid and fit into the packet."""
    octets = b""
    for name, value in record.extra:
        try:
            attribute = encode_named(name, value)
        except DictionaryError as error:
            log.warning("an attribute for accounting is left out: %s", error)
            continue
        if len(octets) + len(attribute) > room:
            log.warning("accounting request is full: %s is left out", name)
            continue
        octets += attribute
    return octets
