"""The same datagram through both planes: nothing comes out that differs, and nothing is dropped by
one of them alone. The kernel runs its program on packets in memory (BPF_PROG_TEST_RUN)."""

import contextlib
import ctypes
import random
import socket
import struct
from collections import Counter
from collections.abc import Iterator

import pytest

from l2tpns_core.dataplane.counters import PlaneCounters
from l2tpns_core.dataplane.ebpf import layout
from l2tpns_core.dataplane.ebpf.fastpath import FastPath, FastPathOptions
from l2tpns_core.dataplane.ebpf.libbpf import library
from l2tpns_core.dataplane.ipv4 import build
from unit.dataplane.fakes import (
    FAR,
    KEY,
    LAC,
    OTHER,
    SUBSCRIBER,
    Bench,
    data_message,
    number,
    route,
    tcp_packet,
    udp_packet,
)

pytestmark = pytest.mark.netns

LOCAL = "192.0.2.1"
ETHERNET = bytes(12) + b"\x08\x00"
DROP, REDIRECT, NEXT = 2, 7, 0xFFFFFFFF
PACKETS = 20_000
CLAMP = 1200
NETWORKS = ((number("10.7.0.0"), 16),)


class TestRun(ctypes.Structure):
    """struct bpf_test_run_opts."""

    __test__ = False
    _fields_ = (
        ("sz", ctypes.c_size_t),
        ("data_in", ctypes.c_char_p),
        ("data_out", ctypes.c_void_p),
        ("data_size_in", ctypes.c_uint32),
        ("data_size_out", ctypes.c_uint32),
        ("ctx_in", ctypes.c_void_p),
        ("ctx_out", ctypes.c_void_p),
        ("ctx_size_in", ctypes.c_uint32),
        ("ctx_size_out", ctypes.c_uint32),
        ("retval", ctypes.c_uint32),
        ("repeat", ctypes.c_int),
        ("duration", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("cpu", ctypes.c_uint32),
        ("batch_size", ctypes.c_uint32),
    )


class KernelUp:
    """l2tp_up with the session of the fakes, attached to nothing."""

    def __init__(self, **fields: object) -> None:
        self.fast = FastPath.open(FastPathOptions(max_sessions=4, local=LOCAL))
        settings = layout.SETTINGS.pack(1, 5, struct.pack(">H", 1701), layout.LAYOUT, 0, 0, 0)
        self.fast._settings.update(bytes(4), settings)
        self.fast.install(route(**fields))
        self._program = self.fast._loaded.programs["l2tp_up"]
        self._out = ctypes.create_string_buffer(4096)

    def receive(self, datagram: bytes, peer: str, damage: int = 0) -> tuple[int, bytes]:
        """The verdict, and the IP packet as it is then. `damage` goes into the IP header's id."""
        header = struct.pack(">HHHH", 1701, 1701, 8 + len(datagram), 0)
        ends = socket.inet_aton(peer), socket.inet_aton(LOCAL)
        image = ETHERNET + build(*ends, socket.IPPROTO_UDP, header + datagram)
        image = image[:19] + bytes([image[19] ^ damage]) + image[20:]
        options = TestRun(
            sz=ctypes.sizeof(TestRun),
            data_in=image,
            data_size_in=len(image),
            data_out=ctypes.addressof(self._out),
            data_size_out=len(self._out),
            repeat=1,
        )
        assert library().bpf_prog_test_run_opts(self._program, ctypes.byref(options)) == 0
        return options.retval, self._out.raw[14 : options.data_size_out]

    def outcomes(self) -> Counter[str]:
        return Counter(self.fast.statistics().outcomes)


@contextlib.contextmanager
def both(**fields: object) -> Iterator[tuple[KernelUp, Bench]]:
    with contextlib.ExitStack() as stack:
        kernel = KernelUp(**fields)
        stack.callback(kernel.fast.close)
        yield kernel, Bench(**fields)


def datagrams(chance: random.Random) -> Iterator[bytes]:
    """Data messages, most of them damaged somewhere."""
    mss = b"\x02\x04\x05\xb4"
    options = [
        mss,
        b"\x01" + mss,
        b"\x01\x03\x03\x07" + mss,
        b"\x01" * 36 + mss,
        b"",
        b"\x02\x03" + mss,
    ]
    while True:
        source = chance.choice([SUBSCRIBER, SUBSCRIBER, SUBSCRIBER, "10.7.1.2", "10.8.0.1"])
        if chance.random() < 0.5:
            packet = tcp_packet(source, FAR, chance.choice(options), chance.choice([2, 0x10, 0x12]))
        else:
            packet = udp_packet(source, FAR, bytes(chance.randrange(40)))
        prefix = chance.choice([b"\xff\x03\x00\x21", b"\x00\x21", b"\xff\x03\xc0\x21", b"\x21"])
        datagram = bytearray(
            data_message(
                prefix + packet,
                KEY if chance.random() < 0.95 else KEY + 1,
                length=chance.random() < 0.5,
                trailer=bytes(chance.choice([0, 0, 3])),
            )
        )
        for _ in range(chance.choice([0, 1, 1, 2])):
            datagram[chance.randrange(min(len(datagram), 70))] = chance.randrange(256)
        if chance.random() < 0.1:
            del datagram[chance.randrange(1, len(datagram)) :]
        yield bytes(datagram)


def test_both_planes_make_the_same_of_what_a_lac_sends() -> None:
    chance = random.Random(4)
    seen: Counter[str] = Counter()
    with both(clamp_mss=CLAMP, networks=NETWORKS) as (kernel, user):
        made = datagrams(chance)
        for _ in range(PACKETS):
            datagram = next(made)
            peer = LAC if chance.random() < 0.97 else OTHER
            before = kernel.outcomes() if chance.random() < 0.05 else None
            verdict, packet = kernel.receive(datagram, peer[0])
            if verdict == NEXT:
                seen["punt"] += 1
                continue
            drops = user.counters.as_dict()
            user.device.written.clear()
            user.receive(datagram, peer=peer)
            if verdict == REDIRECT:
                seen["forward"] += 1
                assert user.device.written == [packet], datagram.hex()
                continue
            seen["drop"] += 1
            assert verdict == DROP
            assert user.device.written == [], datagram.hex()
            grown = Counter(user.counters.as_dict()) - Counter(drops)
            if before is not None:
                (outcome,) = kernel.outcomes() - before
                assert outcome.removeprefix("up_drop_") in grown, datagram.hex()
        assert not user.events.frames
        ours, theirs = kernel.fast.counters(KEY), user.entry.counters()
        assert (ours.packets_in, ours.octets_in) == (theirs.packets_in, theirs.octets_in)
        outcomes = kernel.outcomes()
    assert min(seen.values()) > PACKETS // 50, seen
    for name in ("wrong_peer", "packet_errors", "source_spoofed"):
        assert outcomes[f"up_drop_{name}"] == getattr(user.counters, name) > 0
    assert outcomes["mss_clamped"] == user.counters.mss_clamped > 0
    assert isinstance(user.counters, PlaneCounters)


def test_a_damaged_outer_header_is_left_to_the_kernel() -> None:
    with both() as (kernel, _):
        datagram = data_message(b"\xff\x03\x00\x21" + udp_packet(SUBSCRIBER, FAR))
        assert kernel.receive(datagram, LAC[0])[0] == REDIRECT
        assert kernel.receive(datagram, LAC[0], damage=1)[0] == NEXT
        assert kernel.outcomes()["up_punt_header"] == 1
