import struct
from dataclasses import replace
from ipaddress import ip_address

import pytest

from l2tpns_core.radius.accounting import AccountingAttributes
from l2tpns_core.radius.attributes import Nas
from l2tpns_core.radius.model import AccountingRecord, AccountingStatus, Usage
from unit.radius.lab import identity
from unit.radius.stub import walk

NAS = Nas(ip_address("192.0.2.1"), "lns")
EVENT = 1_700_000_000.75
EVENT_OCTETS = b"\x65\x53\xf1\x00"
USER = (1, b"alice")
SESSION_ID = (44, b"000000016553F100")
MULTI_SESSION_ID = (50, b"000000016553F100")
BY_RADIUS = (45, b"\0\0\0\x01")
TAIL = [
    (5, b"\0\0\0\x07"),
    (6, b"\0\0\0\x02"),
    (7, b"\0\0\0\x01"),
    (8, b"\xc0\0\x02\x07"),
    (30, b"isp"),
    (31, b"0123456789"),
    (4, b"\xc0\0\x02\x01"),
    (32, b"lns"),
    (61, b"\0\0\0\x05"),
    (77, b"1024000/128000"),
    (64, b"\0\0\0\x03"),
    (65, b"\0\0\0\x01"),
    (66, b"198.51.100.9"),
]
START = AccountingRecord(AccountingStatus.START, EVENT, identity(ip=0xC0000207))


def sent(record: AccountingRecord, after_s: float = 0.0) -> list[tuple[int, bytes]]:
    return walk(AccountingAttributes(record, NAS).encode(EVENT + after_s))


def test_a_start_in_full() -> None:
    assert sent(START) == [
        USER,
        (40, b"\0\0\0\x01"),
        SESSION_ID,
        (55, EVENT_OCTETS),
        (41, b"\0\0\0\0"),
        MULTI_SESSION_ID,
        BY_RADIUS,
        *TAIL,
    ]


def test_a_stop_in_full() -> None:
    stop = replace(
        START,
        status=AccountingStatus.STOP,
        identity=identity(ip=0xC0000207, classes=(b"0x6162", b"\xff")),
        usage=Usage(5 << 32 | 1, 7 << 32 | 2, 3, (1 << 32) + 4),
        session_time=61,
        terminate_cause=6,
        reason="Requested by administrator.",
        extra=[("Framed-Route", "10.0.0.0/8 192.0.2.7 1"), ("Cisco-AVPair", "colour=red")],
    )
    cause = b"disc-cause-ext=Requested by administrator."
    assert sent(stop) == [
        USER,
        (40, b"\0\0\0\x02"),
        SESSION_ID,
        (55, EVENT_OCTETS),
        (41, b"\0\0\0\0"),
        MULTI_SESSION_ID,
        BY_RADIUS,
        (42, b"\0\0\0\x01"),
        (43, b"\0\0\0\x02"),
        (47, b"\0\0\0\x03"),
        (48, b"\0\0\0\x04"),
        (52, b"\0\0\0\x05"),
        (53, b"\0\0\0\x07"),
        (46, b"\0\0\0\x3d"),
        (49, b"\0\0\0\x06"),
        (26, struct.pack("!IBB", 9, 1, len(cause) + 2) + cause),
        (25, b"0x6162"),
        (25, b"\xff"),
        (22, b"10.0.0.0/8 192.0.2.7 1"),
        (26, b"\0\0\0\x09\x01\x0ccolour=red"),
        *TAIL,
    ]


def test_an_interim_update_says_no_cause() -> None:
    interim = replace(
        START, status=AccountingStatus.INTERIM, usage=Usage(1, 2, 3, 4), reason="never shown"
    )
    kinds = [kind for kind, _ in sent(interim)]
    assert (40, b"\0\0\0\x03") in sent(interim)
    assert 49 not in kinds
    assert 26 not in kinds


@pytest.mark.parametrize(
    ("status", "octet"),
    [(AccountingStatus.ACCOUNTING_ON, 7), (AccountingStatus.ACCOUNTING_OFF, 8)],
)
def test_the_lns_itself_comes_and_goes(status: AccountingStatus, octet: int) -> None:
    assert sent(AccountingRecord(status, EVENT)) == [
        (40, bytes((0, 0, 0, octet))),
        (44, b"000000006553F100"),
        (55, EVENT_OCTETS),
        (41, b"\0\0\0\0"),
        (4, b"\xc0\0\x02\x01"),
        (32, b"lns"),
    ]


@pytest.mark.parametrize(
    ("after_s", "delay"), [(-5, 0), (0, 0), (2.9, 2), (90, 90), (2.0**40, 0xFFFFFFFF)]
)
def test_only_the_delay_follows_the_clock(after_s: float, delay: int) -> None:
    first, later = sent(START), sent(START, after_s)
    assert (41, delay.to_bytes(4)) in later
    assert [a for a in later if a[0] != 41] == [a for a in first if a[0] != 41]


def test_a_user_name_that_is_not_utf_8_goes_out_as_it_came() -> None:
    name = b"\xe9lodie".decode("utf-8", "surrogateescape")
    assert sent(replace(START, identity=identity(user=name)))[0] == (1, b"\xe9lodie")


def test_attributes_of_plugins_that_cannot_be_sent_are_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    record = replace(START, extra=[("No-Such", 1), ("Class", b"kept"), ("NAS-Port", "x")])
    record.identity = START.identity
    assert [value for kind, value in sent(record) if kind == 25] == [b"kept"]
    assert [entry.levelname for entry in caplog.records] == ["WARNING", "WARNING"]


def test_a_full_request_keeps_what_the_lns_itself_says() -> None:
    record = replace(START, extra=[("Class", bytes(253))] * 30)
    octets = AccountingAttributes(record, NAS).encode(EVENT)
    assert 3500 < len(octets) <= 4096 - 20
    assert walk(octets)[-len(TAIL) :] == TAIL


def test_a_long_reason_is_cut_to_fit() -> None:
    record = replace(START, status=AccountingStatus.STOP, reason="x" * 300)
    (value,) = [value for kind, value in sent(record) if kind == 26]
    assert len(value) == 253
