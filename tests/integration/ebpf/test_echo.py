"""LCP Echo-Requests that the kernel answers: as user space would, and only those that it may."""

import socket
import struct
from collections.abc import Iterator

import pytest

from integration.dataplane.namespaces import LAC, LNS_OUTER, Topology
from integration.ebpf.mirror import offload
from integration.ebpf.setting import KEY, SILENCE_S, Setting, message, opened
from l2tpns_core.dataplane.ipv4 import checksum
from l2tpns_core.lab.netns import ETHTOOL_STXCSUM
from l2tpns_core.ppp.link import Link
from unit.ppp.wire import (
    DISCARD,
    ECHO_REPLY,
    ECHO_REQUEST,
    IDENTIFICATION,
    make_link,
    open_lcp,
    sent,
)

pytestmark = pytest.mark.netns

LCP = b"\xff\x03\xc0\x21"
THEIRS = b"\x01\x02\x03\x04"
MRU = 1400


@pytest.fixture(scope="module")
def topology() -> Iterator[Topology]:
    made = Topology("l2t-bpf-echo")
    yield made
    made.remove()


@pytest.fixture
def link() -> Link:
    made = make_link()
    open_lcp(made)
    sent(made)
    return made


@pytest.fixture
def setting(topology: Topology, link: Link) -> Iterator[Setting]:
    with opened(topology) as made:
        made.install(magic=link.magic, mru=MRU)
        yield made


def lcp(data: bytes, code: int = ECHO_REQUEST, identifier: int = 7, length: int = 0) -> bytes:
    return struct.pack(">BBH", code, identifier, length or 4 + len(data)) + data


REQUESTS = {
    "smallest": lcp(THEIRS),
    "no magic": lcp(bytes(4)),
    "with data": lcp(THEIRS + b"how is the line?", identifier=255),
    "padding": lcp(THEIRS + b"x", identifier=0) + bytes(50),
    "odd": lcp(THEIRS + bytes(range(101))),
    "largest": lcp(THEIRS + bytes(MRU - 8)),
}
HEADERS = {
    "plain": struct.pack(">HI", 2, KEY) + LCP,
    "priority": struct.pack(">HI", 0x0102, KEY) + LCP,
    "acfc": struct.pack(">HI", 2, KEY) + LCP[2:],
}


@pytest.mark.parametrize("summed", [False, True], ids=["offload", "summed"])
@pytest.mark.parametrize("header", [*HEADERS, "length", "length acfc"])
def test_the_kernel_answers_as_user_space_would(
    topology: Topology, setting: Setting, link: Link, header: str, summed: bool
) -> None:
    offload(topology.lac, "lac0", ETHTOOL_STXCSUM, on=not summed)
    try:
        for request in REQUESTS.values():
            frame = (LCP[2:] if header.endswith("acfc") else LCP) + request
            if header in HEADERS:
                setting.send_up(HEADERS[header] + request)
            else:
                setting.send_up(struct.pack(">HHI", 0x4002, 8 + len(frame), KEY) + frame + b"tail")
            link.receive(frame, 0.0)
            (expected,) = link.frames_to_send()
            answer = struct.pack(">HHH", 2, 7, 9) + expected
            assert setting.lac.recvfrom(2000) == (answer, (LNS_OUTER, 1701))
    finally:
        offload(topology.lac, "lac0", ETHTOOL_STXCSUM, on=True)
    assert setting.outcomes() == {"up_echo": len(REQUESTS)}
    assert setting.punted() == []


def test_an_answer_has_headers_of_its_own_and_is_no_traffic(setting: Setting) -> None:
    setting.install(magic=5, peer=(LAC, 1999))
    setting.send_up(HEADERS["plain"] + REQUESTS["smallest"])
    (outer,) = setting.at_lac.packets()
    total, _, flags, ttl, protocol = struct.unpack_from(">2xHHHBB", outer)
    assert (outer[0], total, flags, ttl, protocol) == (0x45, len(outer), 0, 64, 17)
    assert checksum(outer[:20]) == 0
    assert (socket.inet_ntoa(outer[12:16]), socket.inet_ntoa(outer[16:20])) == (LNS_OUTER, LAC)
    assert struct.unpack_from(">HHHH", outer, 20) == (1701, 1999, len(outer) - 20, 0)
    counters = setting.fast.counters(KEY)
    assert counters.heard_at > 0
    assert counters._replace(heard_at=0.0) == (0, 0, 0, 0, 0.0, 0.0)


PUNTS = {
    "too short": lcp(THEIRS, length=7),
    "shorter than its length": lcp(THEIRS, length=9),
    "over the MRU": lcp(THEIRS + bytes(MRU - 7)),
    "a reply": lcp(THEIRS, ECHO_REPLY),
    "a discard request": lcp(THEIRS, DISCARD),
    "an identification": lcp(THEIRS, IDENTIFICATION),
    "cut": lcp(THEIRS)[:7],
}


@pytest.mark.parametrize("case", PUNTS)
def test_everything_else_of_lcp_goes_to_user_space(setting: Setting, case: str) -> None:
    datagram = HEADERS["plain"] + PUNTS[case]
    setting.send_up(datagram)
    assert setting.punted() == [datagram]
    assert setting.outcomes() == {"up_punt_not_ipv4": 1}


def test_what_has_our_own_magic_number_is_a_loop_that_user_space_counts(
    setting: Setting, link: Link
) -> None:
    datagram = message(lcp(link.magic.to_bytes(4, "big")), prefix=LCP)
    setting.send_up(datagram)
    assert setting.punted() == [datagram]


@pytest.mark.parametrize("fields", [{"magic": 0}, {"magic": 5, "send_sequence": True}])
def test_without_leave_user_space_answers(setting: Setting, fields: dict[str, object]) -> None:
    setting.install(**fields)
    datagram = HEADERS["plain"] + REQUESTS["smallest"]
    setting.send_up(datagram)
    assert setting.punted() == [datagram]


def test_requests_with_sequence_numbers_go_to_user_space(setting: Setting) -> None:
    datagram = struct.pack(">HIHH", 0x0802, KEY, 0, 0) + LCP + REQUESTS["smallest"]
    setting.send_up(datagram)
    assert setting.punted() == [datagram]


def test_before_the_network_is_up_echoes_are_answered_all_the_same(setting: Setting) -> None:
    setting.install(magic=5, ip=0)
    setting.lac.settimeout(SILENCE_S)
    setting.send_up(HEADERS["plain"] + REQUESTS["smallest"])
    assert setting.lac.recv(100)[10:] == lcp(b"\0\0\0\5", ECHO_REPLY)
