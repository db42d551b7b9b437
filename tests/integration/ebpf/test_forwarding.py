"""What the programs do with single packets, on real interfaces."""

import socket
import struct
from collections.abc import Iterator

import pytest

from integration.dataplane.namespaces import FAR, LAC, LNS_OUTER, LNS_SECOND, Topology
from integration.ebpf.setting import (
    KEY,
    PREFIX,
    SUBSCRIBER,
    Setting,
    message,
    number,
    opened,
    route,
    udp,
)
from l2tpns_core.dataplane.ebpf.table import NextHop
from l2tpns_core.dataplane.ipv4 import build, checksum
from l2tpns_core.dataplane.mss import clamp_mss

pytestmark = pytest.mark.netns

UP = udp(SUBSCRIBER, FAR, b"hello")
UDP_SEGMENT = 103


@pytest.fixture(scope="module")
def topology() -> Iterator[Topology]:
    made = Topology("l2t-bpf-test")
    yield made
    made.remove()


@pytest.fixture
def setting(topology: Topology) -> Iterator[Setting]:
    with opened(topology) as made:
        yield made


def forwarded(packet: bytes) -> bytes:
    """A packet as the next router sends it on."""
    header = packet[:8] + bytes([packet[8] - 1]) + packet[9:10] + b"\0\0" + packet[12:20]
    return header[:10] + struct.pack(">H", checksum(header)) + header[12:] + packet[20:]


def syn(source: str, destination: str, options: bytes) -> bytes:
    """A TCP SYN with a right checksum."""
    options += bytes(-len(options) % 4)
    length = 20 + len(options)
    tcp = struct.pack(">HHIIBBHHH", 1, 2, 3, 0, length // 4 << 4, 2, 500, 0, 0) + options
    ends = socket.inet_aton(source) + socket.inet_aton(destination)
    total = checksum(ends + struct.pack(">HH", 6, length) + tcp)
    tcp = tcp[:16] + struct.pack(">H", total) + tcp[18:]
    return build(ends[:4], ends[4:], 6, tcp)


@pytest.mark.parametrize(
    "datagram",
    [
        message(UP),
        message(UP, prefix=b"\x00\x21"),
        message(UP, flags=0x0102),  # the priority bit
        struct.pack(">HHI", 0x4002, 12 + len(UP), KEY) + PREFIX + UP,
        message(UP + b"padding"),
        struct.pack(">HHI", 0x4002, 15 + len(UP), KEY) + PREFIX + UP + b"padding",
        struct.pack(">HHI", 0x4002, 12 + len(UP), KEY) + PREFIX + UP + b"behind the length",
    ],
    ids=["short", "acfc", "priority", "length", "padding", "length-padding", "length-behind"],
)
def test_a_packet_comes_out_of_the_tunnel_as_it_went_in(setting: Setting, datagram: bytes) -> None:
    setting.send_up(datagram)
    assert setting.at_far.packets() == [forwarded(UP)]
    assert setting.outcomes() == {"up_forwarded": 1}
    counters = setting.fast.counters(KEY)
    assert (counters.packets_in, counters.octets_in) == (1, len(UP))
    assert (counters.packets_out, counters.octets_out) == (0, 0)
    assert setting.punted() == []


@pytest.mark.parametrize("prefix", [PREFIX, b"\x00\x21"], ids=["plain", "acfc"])
def test_a_packet_goes_into_the_tunnel_behind_the_right_headers(
    setting: Setting, prefix: bytes
) -> None:
    setting.install(ppp_prefix=prefix, peer=(LAC, 1999))
    setting.send_down(b"back")
    (outer,) = setting.at_lac.packets()
    inner = outer[28 + 6 + len(prefix) :]
    total, _, flags, ttl, protocol = struct.unpack_from(">2xHHHBB", outer)
    assert (outer[0], total, flags, ttl, protocol) == (0x45, len(outer), 0, 64, 17)
    assert checksum(outer[:20]) == 0
    assert (socket.inet_ntoa(outer[12:16]), socket.inet_ntoa(outer[16:20])) == (LNS_OUTER, LAC)
    assert struct.unpack_from(">HHHH", outer, 20) == (1701, 1999, len(outer) - 20, 0)
    assert outer[28 : 34 + len(prefix)] == struct.pack(">HHH", 2, 7, 9) + prefix
    assert (socket.inet_ntoa(inner[12:16]), socket.inet_ntoa(inner[16:20])) == (FAR, SUBSCRIBER)
    assert inner[28:] == b"back"
    counters = setting.fast.counters(KEY)
    assert (counters.packets_out, counters.octets_out) == (1, len(inner))
    assert setting.outcomes() == {"down_forwarded": 1}


@pytest.mark.parametrize("known", [False, True], ids=["nothing", "interface"])
def test_what_the_session_does_not_say_the_routing_table_is_asked(
    setting: Setting, known: bool
) -> None:
    setting.fast.install(route(), NextHop(setting.facing if known else 0))
    setting.send_down(b"back")
    (outer,) = setting.at_lac.packets()
    assert outer.endswith(b"back")


PUNTS = {
    "control": (struct.pack(">HHHHHH", 0xC802, 12, 1, 0, 0, 0), "up_punt_control"),
    "unknown session": (message(UP, key=KEY + 1), "up_punt_unknown_session"),
    "sequence numbers": (
        struct.pack(">HIHH", 0x0802, KEY, 0, 0) + PREFIX + UP,
        "up_punt_header",
    ),
    "an offset": (struct.pack(">HIH", 0x0202, KEY, 0) + PREFIX + UP, "up_punt_header"),
    "another version": (message(UP, flags=3), "up_punt_header"),
    "a length beyond the end": (
        struct.pack(">HHI", 0x4002, 13 + len(UP), KEY) + PREFIX + UP,
        "up_punt_header",
    ),
    "LCP": (message(b"\x09\x01\x00\x08abcd", prefix=b"\xff\x03\xc0\x21"), "up_punt_not_ipv4"),
    "one octet of protocol": (message(UP, prefix=b"\xff\x03\x21"), "up_punt_not_ipv4"),
    "nothing in it": (message(b"", prefix=b"") + b"\0\0", "up_punt_header"),
    "IP options": (
        message(b"\x46\x00\x00\x18" + UP[4:20] + b"\x01\x01\x01\x00"),
        "up_punt_ip_options",
    ),
}


@pytest.mark.parametrize("case", PUNTS)
def test_what_is_not_understood_goes_to_user_space_as_it_is(setting: Setting, case: str) -> None:
    datagram, outcome = PUNTS[case]
    setting.send_up(datagram)
    assert setting.punted() == [datagram]
    assert setting.outcomes() == {outcome: 1}
    assert setting.fast.counters(KEY).packets_in == 0


@pytest.mark.parametrize("fields", [{"hooked": True}, {"send_sequence": True}, {"snoop": (FAR, 5)}])
def test_sessions_with_something_unusual_go_through_user_space(
    setting: Setting, fields: dict[str, object]
) -> None:
    setting.install(**fields)
    setting.send_up(message(UP))
    setting.send_down(b"back")
    assert setting.punted() == [message(UP)]
    assert [packet[28:] for packet in setting.read_tun()] == [b"back"]
    assert setting.outcomes() == {"up_punt_flagged": 1, "down_punt_flagged": 1}


def test_before_the_network_is_up_packets_go_to_user_space(setting: Setting) -> None:
    setting.install(ip=0)
    setting.send_up(message(UP))
    setting.send_down(b"back")
    assert setting.punted() == [message(UP)]
    assert [packet[28:] for packet in setting.read_tun()] == [b"back"]
    assert setting.outcomes() == {"up_punt_network_down": 1, "down_punt_no_session": 1}


def test_what_comes_to_another_address_of_ours_goes_to_user_space(setting: Setting) -> None:
    setting.lac.sendto(message(UP), (LNS_SECOND, 1701))
    assert setting.at_far.packets(0.2) == []
    assert setting.outcomes() == {"up_punt_other_address": 1}


DROPS = {
    "spoofed": (message(udp("10.0.1.2", FAR, b"x")), "up_drop_source_spoofed"),
    "cut short": (message(UP[:-1]), "up_drop_packet_errors"),
    "less than a header": (message(UP[:19]), "up_drop_packet_errors"),
    "version": (message(b"\x55" + UP[1:]), "up_drop_packet_errors"),
    "header length": (message(b"\x44" + UP[1:]), "up_drop_packet_errors"),
    "total length": (message(UP[:2] + b"\0\x13" + UP[4:]), "up_drop_packet_errors"),
}


@pytest.mark.parametrize("case", DROPS)
def test_what_the_user_space_plane_would_drop_is_dropped(setting: Setting, case: str) -> None:
    datagram, outcome = DROPS[case]
    setting.send_up(datagram)
    assert setting.punted() == []
    assert setting.at_far.packets(0.1) == []
    assert setting.outcomes() == {outcome: 1}
    assert setting.fast.counters(KEY).heard_at > 0
    assert setting.fast.counters(KEY).data_at == 0


def test_another_lac_cannot_speak_for_a_session(setting: Setting) -> None:
    setting.install(peer=("192.0.2.99", 1701))
    setting.send_up(message(UP))
    assert setting.punted() == []
    assert setting.outcomes() == {"up_drop_wrong_peer": 1}
    assert setting.fast.counters(KEY).heard_at == 0


def test_framed_routes_are_accepted_and_delivered_to(setting: Setting) -> None:
    setting.install(networks=((number("10.9.0.0"), 16),))
    packet = udp("10.9.8.7", FAR, b"from behind")
    setting.send_up(message(packet))
    assert setting.at_far.packets() == [forwarded(packet)]
    setting.send_down(b"to behind", "10.9.1.1")
    (outer,) = setting.at_lac.packets()
    assert outer.endswith(b"to behind")
    setting.send_up(message(udp("10.8.8.7", FAR, b"x")))
    setting.fast.remove(KEY)
    setting.send_down(b"late", "10.9.1.1")
    assert [packet[28:] for packet in setting.read_tun()] == [b"late"]
    assert setting.outcomes() == {
        "up_forwarded": 1,
        "down_forwarded": 1,
        "up_drop_source_spoofed": 1,
        "down_punt_no_session": 1,
    }


def test_the_largest_packet_passes_and_one_more_octet_goes_to_user_space(
    setting: Setting,
) -> None:
    setting.install(mru=1000)
    setting.send_down(bytes(1000 - 28))
    assert len(setting.at_lac.packets()[0]) == 1000 + 38
    setting.send_down(bytes(1000 - 27))
    assert [len(packet) for packet in setting.read_tun()] == [1001]
    assert setting.outcomes() == {"down_forwarded": 1, "down_punt_too_big": 1}


def test_what_the_link_does_not_take_whole_goes_to_user_space(setting: Setting) -> None:
    setting.set_mtu("lns0", 1000)
    try:
        setting.send_down(bytes(962 - 28))
        assert len(setting.at_lac.packets()[0]) == 1000
        setting.send_down(bytes(963 - 28))
        assert [len(packet) for packet in setting.read_tun()] == [963]
    finally:
        setting.set_mtu("lns0", 1500)
    assert setting.outcomes() == {"down_forwarded": 1, "down_punt_link_mtu": 1}


SYN_OPTIONS = {
    "first": b"\x02\x04\x05\xb4\x01\x03\x03\x07",
    "odd": b"\x01\x02\x04\x05\xb4\x00\x00\x00",
    "last": b"\x01" * 36 + b"\x02\x04\x05\xb4",
    "low enough": b"\x02\x04\x02\x00",
    "none": b"\x01\x01\x01\x01",
    "broken": b"\x02\x01\x05\xb4",
    "wrong size": b"\x02\x06\x05\xb4\x05\xb4\x00\x00",
    "cut": b"\x03\x03\x07\x02",
    "ended": b"\x00\x02\x04\x05\xb4",
    "no options": b"",
}


@pytest.mark.parametrize("name", SYN_OPTIONS)
def test_the_mss_of_a_syn_is_lowered_as_in_user_space(setting: Setting, name: str) -> None:
    setting.install(clamp_mss=1400)
    up = syn(SUBSCRIBER, FAR, SYN_OPTIONS[name])
    setting.send_up(message(up))
    assert setting.at_far.packets() == [forwarded(clamp_mss(up, 1400))]
    down = syn(FAR, SUBSCRIBER, SYN_OPTIONS[name])
    with setting.topology.net.entered(), raw_socket() as sender:
        sender.sendto(down, (SUBSCRIBER, 0))
    answers = [outer[38:] for outer in setting.at_lac.packets(count=2)]  # a RST is among them
    assert clamp_mss(down, 1400)[20:] in [answer[20:] for answer in answers]
    clamped = 2 if clamp_mss(up, 1400) != up else 0
    assert setting.outcomes().get("mss_clamped", 0) == clamped


def raw_socket() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)


def test_a_super_packet_of_several_messages_is_not_taken_for_one(setting: Setting) -> None:
    sent = message(udp(SUBSCRIBER, FAR, bytes(500)))
    setting.lac.setsockopt(socket.SOL_UDP, UDP_SEGMENT, len(sent))
    setting.send_up(sent * 3)
    assert setting.at_far.packets(0.1, 3) == []
    assert setting.punted() == [sent] * 3
    assert setting.outcomes() == {"up_punt_super_packet": 1}


def test_a_fragmented_message_goes_to_user_space_whole(setting: Setting) -> None:
    sent = message(udp(SUBSCRIBER, FAR, bytes(3000)))
    setting.lac.setsockopt(socket.IPPROTO_IP, 10, 0)
    setting.send_up(sent)
    assert setting.punted() == [sent]
    assert set(setting.outcomes()) == {"up_punt_fragment"}


def test_fragments_within_the_tunnel_pass(setting: Setting) -> None:
    first = UP[:6] + b"\x20\x00" + UP[8:10] + b"\0\0" + UP[12:]
    first = first[:10] + struct.pack(">H", checksum(first[:20])) + first[12:]
    setting.send_up(message(first))
    assert setting.at_far.packets() == [forwarded(first)]


def test_the_counters_are_what_passed(setting: Setting) -> None:
    for size in range(100):
        setting.send_up(message(udp(SUBSCRIBER, FAR, bytes(size))))
        setting.send_down(bytes(2 * size))
    assert len(setting.at_lac.packets(0.2, 100)) == 100
    counters = setting.fast.counters(KEY)
    assert (counters.packets_in, counters.octets_in) == (100, 100 * 28 + 4950)
    assert (counters.packets_out, counters.octets_out) == (100, 100 * 28 + 9900)
    assert setting.fast.remove(KEY) == counters
    setting.install()
    assert setting.fast.counters(KEY).packets_in == 0


def test_the_last_of_two_sessions_with_an_address_has_it(setting: Setting) -> None:
    setting.install(key=KEY + 1, peer_session_id=10)
    setting.send_down(b"to the second")
    assert setting.at_lac.packets()[0][28:34] == struct.pack(">HHH", 2, 7, 10)
    setting.fast.remove(KEY + 1)
    setting.send_down(b"to the first")
    assert setting.at_lac.packets()[0][28:34] == struct.pack(">HHH", 2, 7, 9)
