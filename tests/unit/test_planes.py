"""Which plane a daemon takes, and what it says about it. Nothing is loaded into a kernel."""

import asyncio
import contextlib
import logging
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from l2tpns_core import planes
from l2tpns_core.config.directives import Config
from l2tpns_core.dataplane.counters import PlaneCounters
from l2tpns_core.dataplane.ebpf.errors import FastPathError
from l2tpns_core.dataplane.ebpf.fastpath import FastPath
from l2tpns_core.dataplane.ebpf.keep import Keep, ensure_bpffs
from l2tpns_core.dataplane.tun import UserPlane
from l2tpns_core.net.netlink import Netlink
from l2tpns_core.net.tun_device import TunDevice
from l2tpns_core.startup import StartError

REFUSED = "loading the programs: EPERM (run as root or with CAP_BPF and CAP_NET_ADMIN)"
CONFIG = replace(Config(), bpf_directory="")
USER: Any = SimpleNamespace(
    name="user",
    session_count=3,
    plane_counters=lambda: PlaneCounters(tun_tx_packets=5, tun_rx_packets=6),
)
DEVICE = cast(TunDevice, SimpleNamespace(name="tun7"))


@pytest.fixture(autouse=True)
def no_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(options: object) -> FastPath:
        raise FastPathError("loading the programs: EPERM", REFUSED.partition("(")[2][:-1])

    monkeypatch.setattr(FastPath, "open", refuse)


def opened(config: Config) -> planes.PlaneHost:
    """A PlaneHost that has chosen."""

    async def run() -> planes.PlaneHost:
        async with contextlib.AsyncExitStack() as stack:
            host = planes.PlaneHost(config, stack)
            host.clear()

            loop = asyncio.get_running_loop()
            host.open(cast(UserPlane, USER), DEVICE, 1, Netlink(), loop)
            return host

    return asyncio.run(run())


def test_auto_takes_user_space_where_the_kernel_refuses_and_says_why_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        host = opened(CONFIG)
    assert host.plane is USER
    (line,) = caplog.messages
    assert line == f"data plane: user space, because the kernel does not forward: {REFUSED}"
    report = host.report()
    assert (report.plane, report.wanted, report.reason) == ("user", "auto", REFUSED)
    assert (report.device, report.sessions, report.kernel) == ("tun7", 3, None)
    assert report.process == {"up": 5, "down": 6}


def test_ebpf_does_not_start_where_the_kernel_refuses() -> None:
    with pytest.raises(StartError) as caught:
        opened(replace(CONFIG, dataplane="ebpf"))
    assert str(caught.value) == f"cannot forward in the kernel: {REFUSED} (see dataplane)"


def test_user_asks_nothing_of_the_kernel(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    config = replace(CONFIG, dataplane="user", bpf_directory=str(tmp_path / "l2tpns"))
    with caplog.at_level(logging.WARNING):
        host = opened(config)
    assert caplog.messages == ["data plane: user space, as `dataplane` says"]
    assert host.report().reason == "dataplane says so"
    assert not (tmp_path / "l2tpns").exists()


def test_a_missing_place_is_told_with_its_remedy(tmp_path: Path) -> None:
    missing = tmp_path / "no" / "where"
    with pytest.raises(FastPathError) as caught:
        ensure_bpffs(missing)
    assert str(caught.value) == f"{missing} is not there (mount -t bpf bpf {missing})"
    assert not Keep.exists(missing)
