"""What outlives the process, what does not, and what many sessions cost."""

import contextlib
import ctypes
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from integration.dataplane.namespaces import FAR, LAC, LNS_INNER, LNS_OUTER, Topology
from integration.ebpf.setting import (
    KEY,
    MRU,
    SUBSCRIBER,
    Setting,
    message,
    number,
    opened,
    route,
    udp,
)
from l2tpns_core.dataplane.ebpf import layout
from l2tpns_core.dataplane.ebpf.attach import Direction, Method, leftovers
from l2tpns_core.dataplane.ebpf.errors import FastPathError
from l2tpns_core.dataplane.ebpf.fastpath import FastPath, FastPathOptions
from l2tpns_core.dataplane.ebpf.keep import ensure_bpffs
from l2tpns_core.dataplane.ebpf.loader import load
from l2tpns_core.dataplane.ebpf.maps import Map
from l2tpns_core.dataplane.ebpf.table import NextHop
from l2tpns_core.dataplane.plane import SessionCounters, SessionRoute

pytestmark = pytest.mark.netns

UP = message(udp(SUBSCRIBER, FAR, b"hello"))
MANY = 65535
MNT_DETACH = 2
MOST_BYTES = 40 << 20


@pytest.fixture(scope="module")
def topology() -> Iterator[Topology]:
    made = Topology("l2t-bpf-life")
    yield made
    made.remove()


@pytest.fixture
def pins(tmp_path: Path) -> Iterator[Path]:
    """A directory on a bpffs of its own."""
    ensure_bpffs(tmp_path)
    yield tmp_path / "l2tpns-test"
    libc = ctypes.CDLL("libc.so.6", use_errno=True)
    assert libc.umount2(str(tmp_path).encode(), MNT_DETACH) == 0, os.strerror(ctypes.get_errno())


@pytest.fixture(params=[Method.TCX, Method.CLSACT], ids=lambda method: method.value)
def method(request: pytest.FixtureRequest) -> Method:
    chosen: Method = request.param
    return chosen


def arrives(setting: Setting) -> bool:
    setting.send_up(UP)
    return len(setting.at_far.packets(0.3)) == 1


def test_sessions_outlive_the_process_that_made_them(
    topology: Topology, pins: Path, method: Method
) -> None:
    with opened(topology, pins=pins, method=method) as setting:
        setting.install(networks=((number("10.9.0.0"), 16),))
        assert arrives(setting)
        setting.fast.close(keep=True)
        assert arrives(setting)
        setting.fast = setting.open()
        assert setting.fast.adopted
        assert setting.fast.keys() == [KEY]
        assert setting.fast.counters(KEY).packets_in == 2
        setting.install(networks=((number("10.9.0.0"), 16),))
        assert arrives(setting)
        assert setting.fast.remove(KEY).packets_in == 3
        setting.send_down(b"x")
        setting.send_down(b"x", "10.9.1.1")
        assert len(setting.read_tun()) == 2
        assert setting.outcomes() == {"up_forwarded": 3, "down_punt_no_session": 2}
    assert not pins.exists()


def test_intercepts_outlive_the_process_until_the_next_one_ends_them(
    topology: Topology, pins: Path
) -> None:
    with opened(topology, pins=pins) as setting:
        setting.fast.copies_from = lambda target: (LNS_INNER, 4499)
        setting.install(snoop=(FAR, 9))
        setting.fast.close(keep=True)
        setting.send_up(UP)
        setting.fast = setting.open()
        setting.send_up(UP)
        copy, packet = (UP[10:], (LNS_INNER, 4499)), (b"hello", (SUBSCRIBER, 1024))
        assert [setting.far.recvfrom(100) for _ in range(4)] == [copy, packet] * 2
        assert setting.outcomes() == {"up_forwarded": 2, "packets_snooped": 2}
        setting.install()
        setting.send_up(UP)
        assert setting.outcomes() == {"up_forwarded": 3, "packets_snooped": 2}


def test_an_adopted_fast_path_is_attached_once(
    topology: Topology, pins: Path, method: Method
) -> None:
    with opened(topology, pins=pins, method=method) as setting:
        setting.fast.close(keep=True)
        setting.fast = setting.open()
        assert arrives(setting)
        assert setting.outcomes() == {"up_forwarded": 1}
        with topology.lns.entered():
            setting.fast.detach(setting.facing)
        assert not arrives(setting)
        assert setting.punted() == [UP]


def test_after_a_clean_end_user_space_has_the_packets(topology: Topology, pins: Path) -> None:
    with opened(topology, pins=pins) as setting:
        with topology.lns.entered():
            setting.fast.close()
        assert not pins.exists()
        assert not arrives(setting)
        assert setting.punted() == [UP]
        setting.fast = setting.open()
        assert not setting.fast.adopted


def test_links_that_nobody_wants_any_more_are_found_and_removed(
    topology: Topology, pins: Path
) -> None:
    with opened(topology, pins=pins, method=Method.TCX) as setting:
        setting.fast.close(keep=True)
        setting.fast = FastPath.open(setting.options)
        with topology.lns.entered():
            setting.fast.attach_tun(setting.tun)
        assert (Direction.UP, setting.facing) in leftovers(pins)
        assert setting.fast.remove_leftovers() == [setting.facing]
        assert not arrives(setting)
        assert setting.punted() == [UP]


def test_pins_of_another_size_are_not_adopted(topology: Topology, pins: Path) -> None:
    with opened(topology, pins=pins) as setting:
        setting.fast.close(keep=True)
        setting.fast = FastPath.open(FastPathOptions(max_sessions=17, pins=pins))
        assert not setting.fast.adopted
        assert setting.fast.statistics().max_sessions == 17


def test_a_process_that_is_killed_leaves_forwarding_behind(topology: Topology, pins: Path) -> None:
    with opened(topology, pins=pins, method=Method.TCX) as setting:
        setting.fast.close(keep=True)
        program = (
            "import os, sys; from pathlib import Path;"
            "from l2tpns_core.dataplane.ebpf.fastpath import FastPath, FastPathOptions;"
            f"FastPath.open(FastPathOptions(max_sessions=1000, pins=Path({str(pins)!r})));"
            "os.kill(os.getpid(), 9)"
        )
        assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9
        assert arrives(setting)
        setting.fast = setting.open()
        assert setting.fast.adopted


def test_without_pins_a_process_that_ends_leaves_nothing(topology: Topology) -> None:
    with opened(topology, method=Method.TCX) as setting:
        setting.fast.close(keep=True)
        assert not arrives(setting)
        assert setting.punted() == [UP]
        setting.fast = setting.open()


def test_an_interface_without_mac_addresses_is_refused(topology: Topology) -> None:
    with opened(topology) as setting, topology.lns.entered():
        with pytest.raises(FastPathError, match="not Ethernet"):
            setting.fast.attach(setting.tun)
        with pytest.raises(FastPathError, match=r"ENODEV|ENXIO"):
            setting.fast.attach(9999)


def test_one_session_too_many_is_refused_and_says_so() -> None:
    with contextlib.closing(
        FastPath.open(FastPathOptions(max_sessions=2, local=LNS_OUTER))
    ) as fast:
        fast.install_many((route(key=key), NextHop()) for key in (1, 2))
        with pytest.raises(FastPathError, match="all 2 places"):
            fast.install(route(key=3))
        fast.remove(1)
        fast.install(route(key=3))
        assert sorted(fast.keys()) == [2, 3]


def test_a_user_without_capabilities_is_told_what_is_missing() -> None:
    program = (
        "from l2tpns_core.dataplane.ebpf.errors import FastPathError\n"
        "from l2tpns_core.dataplane.ebpf.fastpath import FastPath, FastPathOptions\n"
        "try: FastPath.open(FastPathOptions())\n"
        "except FastPathError as error: print(error)"
    )
    nothing = ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all"]
    told = subprocess.run(
        [*nothing, sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert "CAP_BPF" in told.stdout, told


def test_as_many_sessions_as_a_tunnel_can_have() -> None:
    with contextlib.closing(FastPath.open(FastPathOptions())) as fast:
        routes = [
            (
                route(key=1 << 16 | n, ip=number("10.0.0.0") + n, peer=(LAC, 1701), mru=MRU),
                NextHop(1),
            )
            for n in range(1, MANY + 1)
        ]
        begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        installing = clock(lambda: fast.install_many(routes))
        single = clock(lambda: install_each(fast, routes[:1000])) / 1000
        found: dict[int, SessionCounters] = {}
        slices = []
        reading = fast.counters_of_all()
        while True:
            started = time.perf_counter()
            part = next(reading, None)
            if part is None:
                break
            slices.append(time.perf_counter() - started)
            found |= part
        memory = sum(fast.statistics().memory.values())
        removing = clock(lambda: fast.remove_many(list(found)))
        assert len(found) == MANY
        assert fast.keys() == []
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - begun
    print(
        f"\n{MANY} sessions: installed in {installing:.2f} s, one in {single * 1e6:.0f} µs; read in"
        f" {sum(slices):.2f} s, {max(slices) * 1e3:.1f} ms at a time; removed in {removing:.2f} s;"
        f" {memory / 1e6:.1f} MB in the kernel, {grown / 1e3:.0f} MB here"
    )
    assert memory < MOST_BYTES
    assert single < 0.001


def install_each(fast: FastPath, routes: list[tuple[SessionRoute, NextHop]]) -> None:
    for each, hop in routes:
        fast.install(each, hop)


def clock(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def test_maps_have_the_layout_that_python_knows() -> None:
    loaded = load({"sessions": 2}, None)
    try:
        sizes = {name: Map(fd, name) for name, fd in loaded.maps.items()}
        expected = {
            "settings": layout.SETTINGS.size,
            "sessions": layout.ROW,
            "lacs": layout.LAC.size,
            "totals": layout.TOTALS.size,
            "details": layout.DETAILS.size,
            "slots": 2 * layout.IDS,
            "blocks": 2 * layout.BLOCK,
        }
        assert {name: sizes[name].value_size for name in expected} == expected
        assert sizes["networks"].key_size == layout.NETWORK.size
        assert sizes["statistics"].max_entries == len(layout.OUTCOMES)
    finally:
        loaded.close()
