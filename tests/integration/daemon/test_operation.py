"""The daemon in the hands of its operator: start, reload by SIGHUP, and stop."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyroute2 import IPRoute

from integration.daemon.stage import Stage, assert_terminated, down, ping, scene, soon, until
from l2tpns_core.lab import TunnelError
from support.site import LNS_ADDRESS, Site

pytestmark = [pytest.mark.daemon, pytest.mark.netns, pytest.mark.slow]

DEVICE = "subscribers"
OLD_CONFIG = """\
# configuration of a 2.2.1
! kept since
set debug 3
set accounting_dir ""
set cluster_master 0
set throttle_buckets 3000
set radius_bind_min 0
set save_state yes
set hostnam lns-old
set echo_timeout soon
load plugin "garden-of-old"

router bgp 64512
    neighbour 198.51.100.2 remote-as 64513
    neighbour 198.51.100.2 timers 10 30

ip access-list extended outgoing
    deny tcp any any eq 25
    permit ip any any
set secondary_dns 8.8.4.4
"""


@pytest.fixture
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    directory = tmp_path_factory.mktemp("site")
    with Stage(directory, log_file=directory / "log") as running:
        yield running


# SIGHUP


@scene
async def test_reload_acts_on_changed_and_on_missing_lines(stage: Stage) -> None:
    old = await stage.log_in("user-old")
    assert old.dns == ("9.9.9.9",)
    stage.site.write_config(primary_dns="8.8.8.8", duplicate_login="refuse")
    await stage.reload()
    changed = await stage.log_in("user-changed")
    assert changed.dns == ("8.8.8.8",)
    second = stage.call("user-changed")
    await down(second, 3, 0, "User is logged in already")
    stage.site.remove_line("primary_dns")
    stage.site.remove_line("duplicate_login")
    await stage.reload()
    default = await stage.log_in("user-default")
    assert default.dns == ()
    await stage.log_in("user-changed")
    await down(changed, 3, 0, "Duplicate session for user")
    assert old.is_up
    await ping(old)


@scene
async def test_reload_opens_the_log_file_anew(stage: Stage) -> None:
    log, renamed = stage.site.log_file, stage.site.log_file.with_suffix(".1")
    log.rename(renamed)
    await stage.log_in("user-meanwhile")
    stage.site.daemon.send_signal(signal.SIGHUP)
    await until(lambda: log.exists() and "configuration read again" in log.read_text(), "no log")
    await stage.log_in("user-after")
    await until(lambda: "[user-after] login" in log.read_text(), "nothing is logged any more")
    assert "[user-meanwhile] login" in renamed.read_text()
    assert "user-after" not in renamed.read_text()


@scene
async def test_reload_reads_the_pool_again(stage: Stage) -> None:
    old = await stage.log_in("user-pool1")
    assert old.ip.startswith("10.64.0.")
    stage.site.write_pool("10.65.0.0/24\n10.66.0.300\n")
    await stage.reload()
    assert "ip_pool:2: " in stage.site.log()
    new = await stage.log_in("user-pool2")
    assert new.ip.startswith("10.65.0.")
    for client in (old, new):
        await ping(client)
    old.hangup()
    await stage.stop_of("user-pool1", "User-Request")
    await until(
        lambda: not [route for route in routes_of(stage.site) if route.startswith("10.64.")],
        "a route to the old pool is left",
    )
    again = await stage.log_in("user-pool3")
    assert again.ip.startswith("10.65.0.")


@scene
async def test_reload_of_broken_lines_names_them_and_keeps_what_they_are_about(
    stage: Stage,
) -> None:
    stage.site.write_config(radius_timeout=7)
    await stage.reload()
    client = await stage.log_in("user-broken")
    stage.site.tail = "set radius_timout 3\nsett debug 0\nset debug\n"
    stage.site.write_config(radius_timeout="long", primary_dns="9.9.9")
    known = len(stage.site.log())
    await stage.reload()
    report = stage.site.log()[known:]
    path = stage.site.directory / "startup-config"
    last = len(path.read_text().splitlines())
    for name in ("radius_timeout", "primary_dns"):
        assert f"{path}:{stage.site.line_of(name)}: " in report
    for line in range(last - 2, last + 1):
        assert f"{path}:{line}: " in report
    assert 'did you mean "radius_timeout"?' in report
    running = stage.ask("show running-config")["directives"]
    assert (running["radius_timeout"], running["primary_dns"]) == (7, "9.9.9.9")
    assert running["debug"] == 3
    assert client.is_up
    assert (await stage.log_in("user-repaired")).dns == ("9.9.9.9",)
    stage.site.tail = ""
    stage.site.remove_line("radius_timeout")
    stage.site.write_config(primary_dns="9.9.9.9")
    await stage.reload()
    assert stage.ask("show running-config")["directives"]["radius_timeout"] == 3


@scene
async def test_reload_without_a_file_changes_nothing(stage: Stage) -> None:
    path = stage.site.directory / "startup-config"
    before = stage.ask("show running-config")
    path.rename(path.with_suffix(".gone"))
    known = len(stage.site.log())
    stage.site.daemon.send_signal(signal.SIGHUP)
    await until(lambda: f"{path}: cannot be read" in stage.site.log()[known:], "no report")
    assert stage.ask("show running-config") == before
    assert (await stage.log_in("user-nofile")).dns == ("9.9.9.9",)


# Stop


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGQUIT"])
def test_signal_disconnects_everybody_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    async def act(stage: Stage) -> None:
        (on,) = await stage.site.radius.wait_for_records("Accounting-On")
        clients = [await stage.log_in(f"user{number}") for number in range(3)]
        assert DEVICE in links_of(stage.site)
        assert any(DEVICE in route for route in routes_of(stage.site))
        assert stage.site.cli_socket.exists()
        stage.site.daemon.send_signal(getattr(signal, name))
        for client in clients:
            await down(client, 3, 0, "LNS is shutting down")
            assert_terminated(client)
        end = await soon(stage.tunnel.closed)
        assert (end.by, end.result, end.text) == ("StopCCN", 6, "LNS is shutting down")
        await until(lambda: stage.site.daemon.poll() is not None, "the daemon does not end")
        assert stage.site.daemon.returncode == 0
        for number in range(3):
            await stage.stop_of(f"user{number}", "Admin-Reboot")
        statuses = [record["Acct-Status-Type"] for record in stage.site.radius.accounting]
        assert statuses == ["Accounting-On", *["Start"] * 3, *["Stop"] * 3, "Accounting-Off"]
        off = stage.site.radius.accounting[-1]
        assert off["NAS-Identifier"] == on["NAS-Identifier"]
        assert DEVICE not in links_of(stage.site)
        assert not [route for route in routes_of(stage.site) if route.startswith("10.")]
        assert not stage.site.cli_socket.exists()
        assert not (tmp_path / "pid").exists()

    directives: dict[str, Any] = {"tundevicename": DEVICE, "pid_file": tmp_path / "pid"}
    with Stage(tmp_path, **directives) as stage:
        assert (tmp_path / "pid").read_text() == f"{stage.site.daemon.pid}\n"
        stage.play(act)


def test_newcomers_are_refused_while_the_daemon_stops(tmp_path: Path) -> None:
    """A client that does not answer holds the stop up, long enough to knock at the door."""

    async def act(stage: Stage) -> None:
        silent = await stage.log_in("user-silent")
        silent.vanish()
        stage.site.daemon.send_signal(signal.SIGTERM)
        await until(lambda: "stops on SIGTERM" in stage.site.log(), "it does not stop")
        async with stage.new_lac() as late:
            with pytest.raises(TunnelError) as refused:
                await soon(late.open_tunnel())
            assert (refused.value.end.by, refused.value.end.result) == ("StopCCN", 6)
        await down(silent, 3, 0, "LNS is shutting down")
        await stage.stop_of("user-silent", "Admin-Reboot")
        await until(lambda: stage.site.daemon.poll() is not None, "the daemon does not end")
        assert stage.site.daemon.returncode == 0

    with Stage(tmp_path, ppp_restart_time=1) as stage:
        stage.play(act)


def links_of(site: Site) -> set[str]:
    """Names of the network interfaces of the LNS."""

    def dump() -> set[str]:
        with IPRoute() as route:
            return {link.get_attr("IFLA_IFNAME") for link in route.get_links()}

    return site.lns.call(dump)


def routes_of(site: Site) -> set[str]:
    """The routes of the LNS: `10.64.0.0/24 dev subscribers`."""

    def dump() -> set[str]:
        with IPRoute() as route:
            names = {link["index"]: link.get_attr("IFLA_IFNAME") for link in route.get_links()}
            return {
                f"{message.get_attr('RTA_DST')}/{message['dst_len']}"
                f" dev {names.get(message.get_attr('RTA_OIF'))}"
                for message in route.get_routes(family=2)
            }

    return site.lns.call(dump)


# Start


@pytest.mark.parametrize(
    ("directives", "sentence"),
    [
        ({}, f"cannot bind UDP {LNS_ADDRESS}:1701: Address already in use .*l2tp_port.*"),
        (
            {"l2tp_port": 1702, "bind_address": "203.0.113.1"},
            "cannot bind UDP 203.0.113.1:1702: Cannot assign requested address .*bind_address.*",
        ),
        (
            {"l2tp_port": 1702, "tundevicename": "net"},
            "cannot open the TUN device net: Invalid argument .*tundevicename.*",
        ),
        (
            {"l2tp_port": 1703},
            "cannot bind UDP 127.0.0.1:1702 for nsctl: .*nsctl_port.*",
        ),
        (
            {"l2tp_port": 1703, "nsctl_port": 1704, "cli_socket": "/proc/no/such/cli.sock"},
            "cannot listen on /proc/no/such/cli.sock: .*cli_socket.*",
        ),
    ],
)
def test_start_error_is_one_clear_line(
    stage: Stage, tmp_path: Path, directives: dict[str, object], sentence: str
) -> None:
    lines = {
        "bind_address": LNS_ADDRESS,
        "iftun_address": "10.63.1.1",
        "send_garp": "no",
        "cli_socket": tmp_path / "cli.sock",
        **directives,
    }
    text = "".join(f"set {name} {value}\n" for name, value in lines.items())
    (tmp_path / "startup-config").write_text(text)
    (tmp_path / "ip_pool").write_text("10.99.0.0/24\n")
    before = links_of(stage.site), routes_of(stage.site)
    done = run_daemon(stage, tmp_path)
    assert done.returncode == 1
    assert re.fullmatch(f"l2tpns: {sentence}\n", done.stderr), done.stderr
    assert "Traceback" not in done.stdout
    assert (links_of(stage.site), routes_of(stage.site)) == before


def test_missing_startup_config_is_one_clear_line(stage: Stage, tmp_path: Path) -> None:
    done = run_daemon(stage, tmp_path)
    assert done.returncode == 1
    assert re.fullmatch(
        f"l2tpns: {tmp_path}/startup-config: cannot be read: No such file .*-c .*\n", done.stderr
    )


def run_daemon(stage: Stage, directory: Path) -> "subprocess.CompletedProcess[str]":
    """Start a second daemon beside the running one; it is expected to end by itself."""
    program = [sys.executable, "-m", "l2tpns_core.daemon", "-c", str(directory / "startup-config")]
    return stage.site.lns.run(program, timeout_s=20, check=False)


def test_old_startup_config_starts_the_daemon(tmp_path: Path) -> None:
    """A file of the 2.x releases of the C program: what is not known here is named and skipped."""

    async def act(stage: Stage) -> None:
        client = await stage.log_in("user-old")
        assert client.dns == ("9.9.9.9", "8.8.4.4")
        path, log = stage.site.directory / "startup-config", stage.site.log()
        lines = path.read_text().splitlines()
        for beginning in (
            "set cluster_master",
            "set throttle_buckets",
            "set radius_bind_min",
            "set hostnam",
            "set echo_timeout",
        ):
            (number,) = [i for i, line in enumerate(lines, 1) if line.startswith(beginning)]
            assert f"{path}:{number}: " in log, beginning
        (number,) = [i for i, line in enumerate(lines, 1) if line.startswith("set hostnam")]
        assert re.search(f':{number}: .*did you mean "hostname"', log)
        assert "garden-of-old" in log
        (peer,) = stage.ask("show bgp")["peers"]
        assert (peer["address"], peer["asn"], peer["hold_s"]) == ("198.51.100.2", 64_513, 30)
        (rules,) = stage.ask("show access-list outgoing")
        assert [rule["rule"] for rule in rules["rules"]] == [
            "deny tcp any any eq 25",
            "permit ip any any",
        ]
        known = {f":{i}: " for i, line in enumerate(lines, 1) if line.startswith(("#", "!"))}
        assert not any(f"{path}{place}" in log for place in known)

    with Stage(tmp_path, tail=OLD_CONFIG) as stage:
        stage.play(act)
