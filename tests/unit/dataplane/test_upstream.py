"""From the LAC: what is forwarded, what is handed up, what is dropped and counted."""

import struct
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2tpns_core.dataplane.counters import PlaneCounters
from l2tpns_core.dataplane.plane import SessionCounters
from l2tpns_core.dataplane.upstream import UNKNOWN_SESSION_REPORTS
from l2tpns_core.l2tp.data import decode_data
from l2tpns_core.l2tp.errors import L2tpError
from unit.dataplane.fakes import (
    FAR,
    IP_PREFIX,
    KEY,
    LAC,
    LCP_ECHO,
    OTHER,
    SUBSCRIBER,
    Bench,
    data_message,
    number,
    reseal,
    tcp_checksum,
    tcp_packet,
    udp_packet,
)

PACKET = udp_packet(SUBSCRIBER, FAR)
HEADERS = [
    {},
    {"length": True},
    {"priority": True},
    {"length": True, "priority": True},
    {"offset": 0},
    {"offset": 6},
    {"length": True, "offset": 3},
    {"ns": 0},
    {"length": True, "ns": 0, "offset": 2, "priority": True},
]


def dropped(counters: PlaneCounters) -> dict[str, int]:
    """The counters that are not 0 beside those of traffic."""
    traffic = ("socket_rx_", "socket_tx_", "tun_rx_", "tun_tx_")
    return {
        field.name: getattr(counters, field.name)
        for field in fields(counters)
        if getattr(counters, field.name) and not field.name.startswith(traffic)
    }


@pytest.mark.parametrize("header", HEADERS, ids=str)
@pytest.mark.parametrize("prefix", [b"\xff\x03\x00\x21", b"\xff\x03\x21", b"\x00\x21", b"\x21"])
def test_ip_packet_is_forwarded_in_every_form_of_header(
    header: dict[str, int], prefix: bytes
) -> None:
    bench = Bench()
    bench.receive(data_message(prefix + PACKET, **header))  # type: ignore[arg-type]
    assert bench.device.written == [PACKET]
    assert bench.entry.counters() == SessionCounters(len(PACKET), 0, 1, 0, 100.0, 100.0)
    assert not dropped(bench.counters)
    assert bench.counters.tun_tx_packets == 1
    assert bench.counters.tun_tx_octets == len(PACKET)


@pytest.mark.parametrize("header", HEADERS, ids=str)
def test_ppp_control_is_handed_up_whole_in_every_form_of_header(header: dict[str, int]) -> None:
    bench = Bench()
    bench.receive(data_message(LCP_ECHO, **header))  # type: ignore[arg-type]
    assert bench.events.frames == [(KEY, LCP_ECHO, 100.0)]
    assert not bench.device.written
    assert bench.entry.heard_at == 100.0
    assert bench.entry.data_at == 0.0


def test_reserved_bits_of_the_header_are_ignored() -> None:
    bench = Bench()
    datagram = data_message(IP_PREFIX + PACKET)
    bench.receive(struct.pack(">H", 0x35F2) + datagram[2:])
    assert bench.device.written == [PACKET]


def test_length_field_cuts_what_follows_it() -> None:
    bench = Bench()
    bench.receive(data_message(LCP_ECHO, length=True, trailer=b"trailer"))
    assert bench.events.frames == [(KEY, LCP_ECHO, 100.0)]


def test_padding_behind_the_ip_packet_is_cut() -> None:
    bench = Bench()
    bench.receive(data_message(IP_PREFIX + PACKET + bytes(12)))
    assert bench.device.written == [PACKET]
    assert bench.entry.octets_in == len(PACKET)


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        b"\x00\x02\x00\x01\x00\x05",
        b"\x00\x01" + data_message(IP_PREFIX + PACKET)[2:],
        b"\x00\x03" + data_message(IP_PREFIX + PACKET)[2:],
        b"\x40\x02\x00\x07" + data_message(IP_PREFIX + PACKET, length=True)[4:],
        data_message(IP_PREFIX + PACKET, length=True)[:-1],
        data_message(b"", ns=1)[:9],
        data_message(b"", offset=5)[:-1],
        b"\x02\x02\x00\x01\x00\x05\xff\xff" + PACKET,
    ],
    ids=[
        "empty",
        "header only",
        "L2F",
        "L2TPv3",
        "length below the header",
        "length past the end",
        "cut in Ns",
        "cut in the offset padding",
        "offset past the end",
    ],
)
def test_broken_header_is_counted(datagram: bytes) -> None:
    bench = Bench()
    bench.receive(datagram)
    assert dropped(bench.counters) == {"header_errors": 1}
    assert not bench.device.written
    assert not bench.events.frames


def test_control_message_is_handed_up_with_the_address_it_came_to() -> None:
    bench = Bench()
    message = b"\xc8\x02\x00\x0c" + bytes(8)
    bench.receive(message, peer=OTHER)
    assert bench.events.controls == [(message, OTHER, "192.0.2.1", 100.0)]
    assert dropped(bench.counters) == {"control_received": 1}


def test_data_of_another_lac_is_dropped() -> None:
    bench = Bench()
    bench.receive(data_message(IP_PREFIX + PACKET), data_message(LCP_ECHO, ns=0), peer=OTHER)
    assert dropped(bench.counters) == {"wrong_peer": 2}
    assert not bench.device.written
    assert not bench.events.frames
    assert bench.entry.heard_at == 0.0


def test_another_port_of_the_lac_is_accepted() -> None:
    bench = Bench()
    bench.receive(data_message(IP_PREFIX + PACKET), peer=(LAC[0], 40000))
    assert bench.device.written == [PACKET]


def test_unknown_session_is_reported_and_the_reports_are_limited() -> None:
    bench = Bench()
    bench.receive(*[data_message(IP_PREFIX + PACKET, key=7 << 16 | 9)] * 50)
    assert bench.counters.unknown_session == 50
    assert bench.events.unknown == [(7, 9, LAC, 100.0)] * UNKNOWN_SESSION_REPORTS


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        PACKET[:19],
        PACKET[:-1],
        b"\x46" + PACKET[1:20],
        b"\x44" + PACKET[1:],
        b"\x65" + PACKET[1:],
        PACKET[:2] + b"\x00\x13" + PACKET[4:],
        b"\x4f" + PACKET[1:],
    ],
    ids=[
        "nothing",
        "short header",
        "cut",
        "options cut",
        "header of 16",
        "version 6",
        "total of 19",
        "header past the end",
    ],
)
def test_broken_ip_packet_is_dropped(packet: bytes) -> None:
    bench = Bench()
    bench.receive(data_message(IP_PREFIX + packet))
    assert dropped(bench.counters) == {"packet_errors": 1}
    assert not bench.device.written
    assert bench.entry.packets_in == 0


def test_ip_options_pass() -> None:
    bench = Bench()
    packet = reseal(
        b"\x46\x00" + struct.pack(">H", len(PACKET) + 4) + PACKET[4:20] + b"\x01" * 4 + PACKET[20:]
    )
    bench.receive(data_message(IP_PREFIX + packet))
    assert bench.device.written == [packet]


def test_foreign_source_is_dropped_and_a_network_of_the_session_passes() -> None:
    bench = Bench(networks=((number("10.9.0.0"), 24),))
    behind = udp_packet("10.9.0.200", FAR)
    bench.receive(
        data_message(IP_PREFIX + udp_packet("10.0.0.6", FAR)),
        data_message(IP_PREFIX + udp_packet("10.9.1.1", FAR)),
        data_message(IP_PREFIX + behind),
    )
    assert bench.device.written == [behind]
    assert dropped(bench.counters) == {"source_spoofed": 2}
    assert bench.entry.packets_in == 1


def test_ip_before_the_network_is_up_is_handed_up() -> None:
    bench = Bench(ip=0)
    bench.receive(data_message(IP_PREFIX + PACKET))
    assert bench.events.frames == [(KEY, IP_PREFIX + PACKET, 100.0)]
    assert dropped(bench.counters) == {"network_down": 1, "frames_received": 1}


def test_empty_payload_is_counted() -> None:
    bench = Bench()
    bench.receive(data_message(b"", ns=0))
    assert dropped(bench.counters) == {"empty": 1}


def test_mss_is_clamped_when_the_route_says_so() -> None:
    syn = tcp_packet(SUBSCRIBER, FAR, b"\x02\x04\x05\xb4")
    bench = Bench(clamp_mss=1400)
    bench.receive(data_message(IP_PREFIX + syn))
    assert bench.device.written[0][42:44] == (1400).to_bytes(2, "big")
    assert tcp_checksum(SUBSCRIBER, FAR, bench.device.written[0][20:]) == 0
    assert bench.counters.mss_clamped == 1
    untouched = Bench(clamp_mss=0)
    untouched.receive(data_message(IP_PREFIX + syn))
    assert untouched.device.written == [syn]


def test_mss_is_clamped_behind_ip_options() -> None:
    syn = tcp_packet(SUBSCRIBER, FAR, b"\x02\x04\x05\xb4", ip_options=b"\x01" * 4)
    bench = Bench(clamp_mss=1400)
    bench.receive(data_message(IP_PREFIX + syn))
    assert bench.device.written[0][46:48] == (1400).to_bytes(2, "big")


def test_hook_sees_changes_and_drops_the_packets_of_hooked_sessions() -> None:
    bench = Bench(hooked=True)
    seen = []
    answers: list[bytes | None] = [None, PACKET + b"more", b""]

    def hook(key: int, packet: bytes) -> bytes | None:
        seen.append((key, packet))
        return answers.pop(0)

    bench.up.hook = hook
    bench.receive(*[data_message(IP_PREFIX + PACKET)] * 3)
    assert seen == [(KEY, PACKET)] * 3
    assert bench.device.written == [PACKET + b"more"]
    assert bench.counters.hook_drops_in == 2
    assert bench.entry.octets_in == len(PACKET) + 4
    assert bench.entry.packets_in == 1


def test_hook_does_not_see_other_sessions() -> None:
    bench = Bench()
    bench.up.hook = lambda key, packet: None
    bench.receive(data_message(IP_PREFIX + PACKET))
    assert bench.device.written == [PACKET]


@pytest.mark.parametrize("failure", [None, OSError(5, "I/O error")])
def test_packet_that_the_device_refuses_is_not_counted_as_traffic(failure: OSError | None) -> None:
    bench = Bench()
    bench.device.full = True
    bench.device.failure = failure
    bench.receive(data_message(IP_PREFIX + PACKET))
    assert dropped(bench.counters) == {"tun_write_failures": 1}
    assert bench.entry.packets_in == 0


def test_one_call_reads_no_more_than_the_batch() -> None:
    bench = Bench()
    bench.up.batch = 3
    bench.receive(*[data_message(IP_PREFIX + PACKET)] * 5)
    assert len(bench.device.written) == 3
    bench.up.read()
    assert len(bench.device.written) == 5


def test_socket_error_is_counted_and_the_batch_goes_on() -> None:
    bench = Bench()
    bench.socket.incoming.append(ConnectionRefusedError())
    bench.receive(data_message(IP_PREFIX + PACKET))
    assert bench.device.written == [PACKET]
    assert dropped(bench.counters) == {"socket_errors": 1}


def test_failing_control_plane_does_not_stop_the_data(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    bench.events.failure = ValueError("bug")
    bench.receive(
        b"\xc8\x02" + bytes(10),
        data_message(LCP_ECHO),
        data_message(LCP_ECHO, key=99),
        data_message(IP_PREFIX + PACKET),
    )
    assert bench.counters.handler_failures == 3
    assert bench.device.written == [PACKET]
    assert len(caplog.records) == 3


def numbered(ns: int) -> tuple[bytes, bytes]:
    packet = udp_packet(SUBSCRIBER, FAR, b"number %d" % ns)
    return packet, data_message(IP_PREFIX + packet, ns=ns & 0xFFFF)


def test_numbered_messages_are_put_in_order() -> None:
    bench = Bench()
    packets, datagrams = zip(*(numbered(ns) for ns in range(4)), strict=True)
    bench.receive(datagrams[0], datagrams[2], datagrams[1], datagrams[3])
    assert bench.device.written == list(packets)
    assert bench.entry.packets_in == 4
    assert bench.counters.tun_tx_packets == 4


def test_lost_message_is_waited_for_no_longer_than_the_timer() -> None:
    bench = Bench()
    (first, one), (_, _), (third, three) = (numbered(ns) for ns in range(3))
    bench.receive(one, three)
    assert bench.device.written == [first]
    deadline = bench.deadlines[-1]
    assert 100.0 < deadline < 101.0
    assert bench.up.handle_timers(deadline + 0.02) is None
    assert bench.device.written == [first, third]


def test_sequence_losses_are_counted_when_the_session_goes() -> None:
    bench = Bench()
    bench.receive(numbered(0)[1], numbered(3)[1])
    bench.up.handle_timers(200.0)
    bench.up.forget(bench.entry)
    assert bench.counters.sequence_lost == 2
    assert bench.entry.sequencer is None


def test_removed_session_is_not_woken_by_its_timer() -> None:
    bench = Bench()
    bench.receive(numbered(0)[1], numbered(2)[1])
    bench.up.forget(bench.entry)
    assert bench.up.handle_timers(200.0) is None
    assert len(bench.device.written) == 1


@given(st.binary(max_size=100))
def test_no_datagram_makes_it_fail(datagram: bytes) -> None:
    bench = Bench(clamp_mss=500, networks=((0, 0),))
    bench.receive(datagram, b"\x00\x02" + struct.pack(">I", KEY) + IP_PREFIX + datagram)
    assert bench.counters.socket_rx_packets == 2
    assert bench.counters.handler_failures == 0


@given(
    st.sampled_from([0x0002, 0x4002, 0x0102, 0x4102, 0x35F2, 0x0003]) | st.integers(0, 0x7FFF),
    st.integers(0, 40) | st.integers(0, 0xFFFF),
    st.binary(max_size=30),
)
def test_the_loop_finds_the_payload_where_the_decoder_of_l2tp_does(
    flags: int, length: int, tail: bytes
) -> None:
    ids = struct.pack(">I", KEY)
    head = struct.pack(">HH", flags, length) if flags & 0x4000 else struct.pack(">H", flags)
    datagram = head + ids + tail
    bench = Bench(ip=0)
    bench.receive(datagram)
    try:
        header = decode_data(datagram)
    except L2tpError:
        expected = b""
    else:
        expected = datagram[header.payload_offset : header.payload_end]
    if len(datagram) >= 8 and not (header_has_ip(expected) and len(expected) < 24):
        assert [frame for _, frame, _ in bench.events.frames] == ([expected] if expected else [])


def header_has_ip(frame: bytes) -> bool:
    """Whether a frame claims to be an IPv4 packet, of which broken ones are not handed up."""
    return frame.removeprefix(b"\xff\x03")[:2].removeprefix(b"\0").startswith(b"!")
