"""Sealed packets: only the right secret, direction, request and time pass, and each once."""

import hashlib
import hmac
import struct

import pytest

from l2tpns_core.control import seal
from l2tpns_core.control.wire import Fault, WireError

SECRET = b"open sesame"
NONCE = bytes(range(16))
NOW = 1_790_000_000.25
PACKET = b"\x90\x13\x13\x00\xff"
SEALED = seal.seal_request(PACKET, SECRET, NONCE, NOW)


def fault_of(datagram: bytes, secret: bytes = SECRET) -> Fault:
    with pytest.raises(WireError) as caught:
        seal.open_request(datagram, secret)
    return caught.value.fault


def opened(nonce: int, time: float = NOW) -> seal.Opened:
    return seal.Opened(nonce.to_bytes(16), time, PACKET)


def test_the_layout_is_that_of_the_documentation() -> None:
    header = struct.pack("!HHQ", 0x9014, 1, 1_790_000_000_250) + NONCE
    mac = hmac.digest(SECRET, b"l2tpns nsctl request\0" + header + PACKET, hashlib.sha256)
    assert header + mac + PACKET == SEALED


def test_a_sealed_request_is_opened() -> None:
    assert seal.open_request(SEALED, SECRET) == seal.Opened(NONCE, NOW, PACKET)


def test_every_bit_of_a_sealed_request_counts() -> None:
    for bit in range(len(SEALED) * 8):
        changed = bytearray(SEALED)
        changed[bit // 8] ^= 1 << bit % 8
        assert fault_of(bytes(changed)) in (Fault.WRONG_SEAL, Fault.NOT_SEALED, Fault.TYPE)


@pytest.mark.parametrize(
    ("datagram", "secret", "fault"),
    [
        (SEALED, b"open sesam", Fault.WRONG_SEAL),
        (SEALED, b"", Fault.WRONG_SEAL),
        (seal.seal_request(PACKET, b"", NONCE, NOW), b"", Fault.WRONG_SEAL),
        (SEALED[:59], SECRET, Fault.SHORT),
        (b"", SECRET, Fault.NOT_SEALED),
        (PACKET, SECRET, Fault.NOT_SEALED),
        (SEALED + bytes(5000), SECRET, Fault.EXTRA),
        (seal.seal_reply(PACKET, SECRET, NONCE, NOW), SECRET, Fault.WRONG_SEAL),
    ],
)
def test_what_does_not_prove_the_secret_is_refused(
    datagram: bytes, secret: bytes, fault: Fault
) -> None:
    assert fault_of(datagram, secret) is fault


def test_a_reply_belongs_to_one_request() -> None:
    reply = seal.seal_reply(PACKET, SECRET, NONCE, NOW)
    assert seal.open_reply(reply, SECRET, NONCE) == PACKET
    with pytest.raises(WireError):
        seal.open_reply(reply, SECRET, bytes(16))
    with pytest.raises(WireError):
        seal.open_reply(SEALED, SECRET, NONCE)


def test_a_request_is_taken_once() -> None:
    guard = seal.ReplayGuard(NOW - 100)
    guard.take(opened(1), NOW)
    guard.take(opened(2), NOW)
    with pytest.raises(WireError) as caught:
        guard.take(opened(1), NOW + 29)
    assert caught.value.fault is Fault.REPLAYED


@pytest.mark.parametrize("difference", [-30.5, 30.5])
def test_a_request_whose_clock_differs_is_refused(difference: float) -> None:
    with pytest.raises(WireError) as caught:
        seal.ReplayGuard(NOW - 100).take(opened(1, NOW + difference), NOW)
    assert caught.value.fault is Fault.STALE


def test_a_request_cannot_be_repeated_at_any_later_time() -> None:
    guard = seal.ReplayGuard(NOW - 100)
    early = opened(1, NOW + 29)
    guard.take(early, NOW)
    for later in range(1, 120):
        guard_now = NOW + later
        guard.take(opened(1000 + later, guard_now), guard_now)
        with pytest.raises(WireError):
            guard.take(early, guard_now)


def test_a_request_from_before_a_restart_cannot_be_repeated() -> None:
    with pytest.raises(WireError) as caught:
        seal.ReplayGuard(NOW + 1).take(opened(1), NOW + 2)
    assert caught.value.fault is Fault.STALE


def test_nonces_are_forgotten_when_time_protects_from_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seal, "MAX_NONCES", 3)
    guard = seal.ReplayGuard(NOW - 100)
    for number in range(3):
        guard.take(opened(number), NOW)
    with pytest.raises(WireError):
        guard.take(opened(3), NOW)
    guard.take(opened(4, NOW + 31), NOW + 31)
