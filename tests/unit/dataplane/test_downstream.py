"""To the subscriber: encapsulation, fragments, ICMP errors, sequence numbers."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2tpns_core.dataplane.plane import SessionCounters
from l2tpns_core.dataplane.ratelimit import RateLimit
from unit.dataplane.fakes import (
    FAR,
    IP_PREFIX,
    KEY,
    LAC,
    LCP_ECHO,
    OTHER,
    SUBSCRIBER,
    Bench,
    number,
    reseal,
    tcp_checksum,
    tcp_packet,
    udp_packet,
)
from unit.dataplane.test_ipv4 import reassemble
from unit.dataplane.test_upstream import dropped

PACKET = udp_packet(FAR, SUBSCRIBER)
HEADER = b"\x00\x02\x0a\x0b\x0c\x0d"
DF = 0x4000


def test_packet_goes_to_the_lac_in_a_data_message() -> None:
    bench = Bench()
    bench.route_down(PACKET)
    assert bench.socket.sent == [(HEADER + IP_PREFIX + PACKET, LAC)]
    assert bench.entry.counters() == SessionCounters(0, len(PACKET), 0, 1, 0.0, 100.0)
    assert not dropped(bench.counters)
    assert bench.counters.tun_rx_packets == bench.counters.socket_tx_packets == 1


@pytest.mark.parametrize("prefix", [b"\x21", b"\x00\x21", b"\xff\x03\x21"])
def test_ppp_header_is_the_one_that_was_negotiated(prefix: bytes) -> None:
    bench = Bench(ppp_prefix=prefix)
    bench.route_down(PACKET)
    assert bench.socket.sent == [(HEADER + prefix + PACKET, LAC)]


def test_packet_leaves_from_the_address_that_the_lac_uses() -> None:
    bench = Bench(local="192.0.2.77")
    bench.route_down(PACKET)
    assert bench.socket.sent_from == [(HEADER + IP_PREFIX + PACKET, LAC, "192.0.2.77")]


def test_packet_to_a_network_behind_the_subscriber() -> None:
    bench = Bench(networks=((number("10.9.0.0"), 24),))
    packet = udp_packet(FAR, "10.9.0.3")
    bench.route_down(packet)
    assert bench.socket.sent == [(HEADER + IP_PREFIX + packet, LAC)]


def test_sequence_numbers_count_packets_and_frames_and_wrap() -> None:
    bench = Bench(send_sequence=True)
    bench.entry.next_ns = 0xFFFF
    bench.route_down(PACKET)
    bench.down.send_frames(bench.entry, [b"\xff\x03\xc0\x21\x01\x01\x00\x04"])
    bench.route_down(PACKET)
    headers = [struct.unpack_from(">HIHH", datagram) for datagram, _ in bench.socket.sent]
    assert headers == [(0x0802, 0x0A0B0C0D, ns, 0) for ns in (0xFFFF, 0, 1)]
    assert bench.socket.sent[0][0][10:] == IP_PREFIX + PACKET


def test_echo_requests_go_first() -> None:
    bench = Bench()
    reply = LCP_ECHO[:4] + b"\x0a" + LCP_ECHO[5:]
    bench.down.send_frames(bench.entry, [LCP_ECHO, reply])
    assert [datagram[:2] for datagram, _ in bench.socket.sent] == [b"\x01\x02", b"\x00\x02"]
    assert bench.socket.sent[0][0][6:] == LCP_ECHO
    assert bench.counters.frames_sent == 2


def test_control_messages_go_as_they_are_each_from_its_address() -> None:
    bench = Bench()
    bench.down.send_control([(b"one", LAC, ""), (b"two", OTHER, "192.0.2.77")])
    assert bench.socket.sent == [(b"one", LAC), (b"two", OTHER)]
    assert bench.socket.sent_from == [(b"two", OTHER, "192.0.2.77")]


def test_packet_for_nobody_is_answered_with_host_unreachable() -> None:
    bench = Bench()
    packet = udp_packet(FAR, "10.0.0.200")
    bench.route_down(packet)
    assert len(bench.answers) == 1
    assert bench.answers[0][12:16] == bench.down.address
    assert bench.answers[0][16:20] == packet[12:16]
    assert bench.answers[0][20:22] == b"\x03\x01"
    assert dropped(bench.counters) == {"no_session": 1, "icmp_sent": 1}


def test_icmp_rate_limits_the_answers() -> None:
    bench = Bench()
    bench.down.icmp_limit = RateLimit(5)
    bench.route_down(*[udp_packet(FAR, "10.0.0.200")] * 20)
    assert len(bench.answers) == 5
    assert bench.counters.icmp_suppressed == 15
    bench.now += 0.5
    bench.route_down(*[udp_packet(FAR, "10.0.0.200")] * 20)
    assert len(bench.answers) == 7


def test_what_must_not_be_answered_does_not_use_up_the_rate() -> None:
    bench = Bench()
    bench.down.icmp_limit = RateLimit(1)
    bench.route_down(udp_packet(FAR, "10.0.0.200", flags=5), udp_packet(FAR, "10.0.0.200"))
    assert len(bench.answers) == 1


def test_without_an_address_of_ours_there_are_no_errors() -> None:
    bench = Bench()
    bench.down.address = b""
    bench.route_down(udp_packet(FAR, "10.0.0.200"))
    assert not bench.answers
    assert dropped(bench.counters) == {"no_session": 1, "icmp_suppressed": 1}


def test_packet_over_the_mru_is_fragmented() -> None:
    bench = Bench(mru=576)
    packet = udp_packet(FAR, SUBSCRIBER, bytes(range(256)) * 5)
    bench.route_down(packet)
    pieces = [datagram[len(HEADER + IP_PREFIX) :] for datagram, _ in bench.socket.sent]
    assert all(len(piece) <= 576 for piece in pieces)
    assert reassemble(pieces) == (packet[20:], True)
    assert bench.entry.packets_out == len(pieces) == 3
    assert bench.entry.octets_out == sum(map(len, pieces))
    assert dropped(bench.counters) == {"packets_fragmented": 1, "fragments_sent": 3}


def test_packet_of_exactly_the_mru_passes() -> None:
    bench = Bench(mru=576)
    packet = udp_packet(FAR, SUBSCRIBER, bytes(576 - 28), flags=DF)
    one_more = udp_packet(FAR, SUBSCRIBER, bytes(577 - 28), flags=DF)
    bench.route_down(packet, one_more)
    assert bench.socket.sent == [(HEADER + IP_PREFIX + packet, LAC)]
    assert bench.counters.too_big == 1


def test_dont_fragment_over_the_mru_is_answered_with_the_mtu() -> None:
    bench = Bench(mru=576)
    bench.route_down(udp_packet(FAR, SUBSCRIBER, bytes(600), flags=DF))
    assert not bench.socket.sent
    assert bench.answers[0][20:22] == b"\x03\x04"
    assert bench.answers[0][26:28] == (576).to_bytes(2, "big")
    assert dropped(bench.counters) == {"too_big": 1, "icmp_sent": 1}


def test_mss_is_clamped_towards_the_subscriber() -> None:
    bench = Bench(clamp_mss=536)
    bench.route_down(tcp_packet(FAR, SUBSCRIBER, b"\x02\x04\x05\xb4", tcp_flags=0x12))
    packet = bench.socket.sent[0][0][len(HEADER + IP_PREFIX) :]
    assert packet[42:44] == (536).to_bytes(2, "big")
    assert tcp_checksum(FAR, SUBSCRIBER, packet[20:]) == 0
    assert bench.counters.mss_clamped == 1


def test_ip_options_pass() -> None:
    bench = Bench()
    packet = reseal(
        b"\x46\x00" + struct.pack(">H", len(PACKET) + 4) + PACKET[4:20] + b"\x01" * 4 + PACKET[20:]
    )
    bench.route_down(packet)
    assert bench.socket.sent == [(HEADER + IP_PREFIX + packet, LAC)]


@pytest.mark.parametrize(
    "packet",
    [b"", b"\x45", PACKET[:19], b"\x60" + PACKET[1:], PACKET[:-1], b"\x60" + bytes(39)],
    ids=["empty", "one byte", "short", "IPv6 by its look", "cut", "IPv6"],
)
def test_what_is_no_ipv4_is_dropped(packet: bytes) -> None:
    bench = Bench(mru=20)  # so that no packet is plain enough for the loop
    bench.route_down(packet)
    assert not bench.socket.sent
    assert not bench.answers
    assert dropped(bench.counters) == {"not_ipv4": 1}


def test_hook_sees_changes_and_drops_the_packets_of_hooked_sessions() -> None:
    bench = Bench(hooked=True)
    larger = udp_packet(FAR, SUBSCRIBER, b"changed")
    answers: list[bytes | None] = [None, larger, b"no packet"]
    seen = []

    def hook(key: int, packet: bytes) -> bytes | None:
        seen.append((key, packet))
        return answers.pop(0)

    bench.down.hook = hook
    bench.route_down(PACKET, PACKET, PACKET)
    assert seen == [(KEY, PACKET)] * 3
    assert bench.socket.sent == [(HEADER + IP_PREFIX + larger, LAC)]
    assert dropped(bench.counters) == {"hook_drops_out": 2}


@pytest.mark.parametrize("failure", [BlockingIOError(), ConnectionRefusedError(), OSError(101)])
@pytest.mark.parametrize("fields", [{}, {"send_sequence": True}, {"local": "192.0.2.1"}])
def test_refused_send_is_counted_and_is_no_traffic(
    failure: OSError, fields: dict[str, object]
) -> None:
    bench = Bench(**fields)
    bench.socket.failure = failure
    bench.route_down(PACKET)
    bench.down.send_frames(bench.entry, [LCP_ECHO])
    bench.down.send_control([(b"one", LAC, "")])
    assert dropped(bench.counters) == {"socket_send_failures": 3}
    assert bench.entry.packets_out == 0


def test_one_call_reads_no_more_than_the_batch() -> None:
    bench = Bench()
    bench.down.batch = 2
    bench.route_down(PACKET, PACKET, PACKET)
    assert len(bench.socket.sent) == 2


def test_device_that_is_gone_is_told_to_the_caller() -> None:
    bench = Bench()
    bench.device.incoming.append(OSError(77, "File descriptor in bad state"))
    with pytest.raises(OSError, match="bad state"):
        bench.down.read()


@given(st.binary(max_size=80), st.booleans())
def test_no_packet_makes_it_fail(data: bytes, addressed: bool) -> None:
    bench = Bench(clamp_mss=100, mru=30)
    packet = data[:16] + bytes([10, 0, 0, 5]) + data[16:] if addressed else data
    bench.route_down(packet)
    assert bench.counters.tun_rx_packets == 1
