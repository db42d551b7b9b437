"""A daemon that is stopped or killed with save_state: the next one goes on with its sessions."""

import asyncio
import itertools
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.daemon.stage import PASSWORD, Stage, ping, soon, until
from integration.garden.place import install_tools
from l2tpns_core.lab import Client, RadiusUser, TunnelOptions
from l2tpns_core.state.lines import encode_line
from support.site import HOST_ADDRESS

pytestmark = [pytest.mark.daemon, pytest.mark.netns]

BASE = Path("/sys/fs/bpf/l2tpns")
SESSIONS = int(os.environ.get("L2TPNS_TEST_RESTART_SESSIONS", "200"))
AT_ONCE = 50
SOME_LOGINS = 100
RELOADS = 10
BETWEEN_PINGS_S = 0.002
SOME_TRAFFIC_S = 0.5
SILENCE_S = 0.3


class RestartedStage(Stage):
    """Where a Start or Stop may come twice: its acknowledgement found the daemon dead."""

    def accounts(self, status: str) -> set[str]:
        return {record["Acct-Session-Id"] for record in self.site.radius.records(status)}

    async def assert_nothing_is_left(self) -> None:
        await until(lambda: self.ask("show session") == [], "a session is left")
        assert self.ask("show pool")["used"] == 0
        starts = self.accounts("Start")
        await until(lambda: self.accounts("Stop") >= starts, "a Stop is missing")

    def assert_books_are_right(self) -> None:
        assert self.accounts("Start") == self.accounts("Stop")


@pytest.fixture(params=["user", "ebpf"])
def stage(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Stage]:
    with RestartedStage(
        tmp_path,
        dataplane=request.param,
        bpf_directory=BASE if request.param == "ebpf" else "",
        pool="10.64.0.0/20\n",
        save_state="yes",
    ) as stage:
        yield stage


async def stop(stage: Stage, number: signal.Signals) -> None:
    stage.site.daemon.send_signal(number)
    await asyncio.to_thread(stage.site.daemon.wait)


async def start(stage: Stage, **directives: object) -> None:
    stage.site.write_config(**directives)
    stage.site.daemon = stage.site._start_daemon()
    await asyncio.to_thread(stage.site._wait_until_ready)


class Traffic:
    """Echo requests to the host behind the LNS from all of some clients in turn."""

    def __init__(self, clients: list[Client]) -> None:
        self._clients = clients
        self._known = sum(client.echo_replies for client in clients)
        self._task = asyncio.create_task(self._run())
        self.sent = 0

    @property
    def answered(self) -> int:
        return sum(client.echo_replies for client in self._clients) - self._known

    async def _run(self) -> None:
        for client in itertools.cycle(self._clients):
            client.ping(HOST_ADDRESS)
            self.sent += 1
            await asyncio.sleep(BETWEEN_PINGS_S)

    async def end(self) -> int:
        """Packets that were lost, each way counted as one."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        known = -1
        while self.answered > known:  # the last ones are on their way
            known = self.answered
            await asyncio.sleep(SILENCE_S)
        return self.sent - self.answered


async def log_all_in(stage: Stage, count: int) -> list[Client]:
    clients: list[Client] = []
    for first in range(0, count, AT_ONCE):
        some = [stage.call(f"user{number}") for number in range(first, min(first + AT_ONCE, count))]
        for client in some:
            await soon(client.up)
        clients += some
    await until(lambda: len(stage.site.radius.records("Start")) >= count, "a Start is missing")
    return clients


BOTH = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])


@BOTH
def test_a_subscriber_goes_on_with_the_next_daemon(stage: Stage, number: signal.Signals) -> None:
    async def restarted(stage: Stage) -> None:
        client = await stage.log_in("user1")
        await ping(client)
        before = stage.session_of("user1")
        await stop(stage, number)
        await start(stage)
        await ping(client)
        after = stage.session_of("user1")
        changing = {"opened_s", "idle_s"} | {name for name in before if "loaded" in name}
        for name in before.keys() - changing:
            assert before[name] == after[name], name
        await stage.log_in("user2")
        client.hangup()
        await soon(client.down)
        await stage.stop_of("user1", "User-Request")

    stage.play(restarted)


@BOTH
@pytest.mark.parametrize("stage", ["ebpf"], indirect=True)
def test_nothing_is_lost_in_the_kernel(stage: Stage, number: signal.Signals) -> None:
    async def restarted(stage: Stage) -> None:
        clients = await log_all_in(stage, SESSIONS)
        await until(lambda: stage.ask("show dataplane")["kernel"]["interfaces"], "not attached")
        traffic = Traffic(clients)
        await asyncio.sleep(SOME_TRAFFIC_S)
        await stop(stage, number)
        await asyncio.sleep(SOME_TRAFFIC_S)
        await start(stage)
        await asyncio.sleep(SOME_TRAFFIC_S)
        lost = await traffic.end()
        print(f"{traffic.sent} sent, {lost} lost")
        assert lost == 0
        assert len(stage.ask("show session")) == SESSIONS
        rows = stage.ask("show session")
        assert sum(row["uploaded_packets"] for row in rows) == traffic.sent
        assert sum(row["downloaded_packets"] for row in rows) == traffic.sent
        assert len(stage.site.radius.records("Start")) == SESSIONS
        assert not stage.site.radius.records("Stop")
        assert all(client.is_up for client in clients)

    stage.play(restarted)


@pytest.mark.parametrize("enough", [1, 30, 70])
def test_a_kill_in_the_middle_of_logins_leaves_no_account_open(stage: Stage, enough: int) -> None:
    """Who was up stays up, who was not is told or gives up, and every Start gets its Stop."""

    async def killed(stage: Stage) -> None:
        calls = [stage.call(f"user{number}") for number in range(SOME_LOGINS)]
        await until(lambda: sum(client.is_up for client in calls) >= enough, "nobody logs in")
        await stop(stage, signal.SIGKILL)
        up = [client for client in calls if client.is_up]
        known = {record["User-Name"] for record in stage.site.radius.records("Start")}
        assert len(known) >= enough
        await start(stage)
        rows = {row["user"] for row in stage.ask("show session")}
        stopped = {record["User-Name"] for record in stage.site.radius.records("Stop")}
        assert known <= rows | stopped
        for client in up:
            if client.is_up:
                await ping(client)

    stage.play(killed)


async def setting(stage: Stage, *commands: str) -> None:
    for command in commands:
        await stage.command(command)


@BOTH
def test_what_an_operator_has_set_on_a_session_stays(stage: Stage, number: signal.Signals) -> None:
    async def restarted(stage: Stage) -> None:
        await stage.log_in("user1")
        await setting(stage, "throttle user1 512", "snoop user1 198.51.100.2 4242")
        before = stage.session_of("user1")
        assert (before["throttle_in_kbps"], before["snoop_ip"]) == (512, HOST_ADDRESS)
        await stop(stage, number)
        await start(stage)
        after = stage.session_of("user1")
        for name in ("throttle_in_kbps", "throttle_out_kbps", "snoop_ip", "snoop_port"):
            assert before[name] == after[name]

    stage.play(restarted)


@BOTH
@pytest.mark.parametrize("fault", ["damaged", "foreign", "old", "off"])
def test_state_that_cannot_be_used_is_refused_and_its_sessions_are_closed(
    stage: Stage, number: signal.Signals, fault: str
) -> None:
    async def restarted(stage: Stage) -> None:
        client = await stage.log_in("user1")
        await ping(client)
        await until(lambda: counters_are_saved(stage.site.directory), "no counters are saved")
        await stop(stage, number)
        files = list(stage.site.directory.glob("sessions-*"))
        assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
        spoil(stage.site.directory, fault)
        await start(stage, save_state="no" if fault == "off" else "yes")
        assert "sessions of the last run are not taken over" in stage.site.log()
        assert stage.ask("show session") == []
        assert bool(list(stage.site.directory.glob("*.refused"))) == (fault != "off")
        record = await stage.stop_of("user1", "NAS-Reboot")
        assert record["Acct-Input-Packets"] == 1
        stage.tunnel.vanish()
        client = await log_in_anew(stage, "user2")
        await ping(client)

    stage.play(restarted)


def counters_are_saved(directory: Path) -> bool:
    return any(b'["c",' in path.read_bytes() for path in directory.glob("sessions-*.journal"))


def spoil(directory: Path, fault: str) -> None:
    (journal,) = directory.glob("sessions-*.journal")
    (snapshot,) = directory.glob("sessions-*.snapshot")
    if fault == "damaged":
        lines = journal.read_bytes().splitlines(keepends=True)
        lines[1:1] = [b"damage\n"]
        journal.write_bytes(b"".join(lines))
    elif fault == "foreign":
        snapshot.write_text("something else\n")
    elif fault == "old":
        with journal.open("ab") as file:
            file.write(encode_line(["w", {"time": time.time() - 3600, "unique": 1}]))


async def log_in_anew(stage: Stage, user: str) -> Client:
    """Over a new tunnel."""
    stage.tunnel = await stage.lac.open_tunnel(TunnelOptions())
    return await stage.log_in(user)


def test_a_reload_under_load_loses_nothing(stage: Stage) -> None:
    async def reloaded(stage: Stage) -> None:
        clients = await log_all_in(stage, SOME_LOGINS)
        traffic = Traffic(clients)
        for number in range(RELOADS):
            stage.site.write_config(throttle_speed=number + 1, icmp_rate=number + 1)
            await stage.reload()
            await asyncio.sleep(SOME_TRAFFIC_S / 2)
        lost = await traffic.end()
        assert traffic.sent > SOME_LOGINS
        assert lost == 0
        assert len(stage.ask("show session")) == SOME_LOGINS
        assert not stage.site.radius.records("Stop")

    stage.play(reloaded)


def test_sigquit_disconnects_everybody_whatever_save_state_says(stage: Stage) -> None:
    async def quit_and_started(stage: Stage) -> None:
        client = await stage.log_in("user1")
        await stop(stage, signal.SIGQUIT)
        await soon(client.down)
        await stage.stop_of("user1", "Admin-Reboot")
        assert not list(stage.site.directory.glob("sessions-0*"))
        await start(stage)
        assert stage.ask("show session") == []

    stage.play(quit_and_started)


@BOTH
def test_who_is_trapped_stays_trapped_in_his_garden(
    tmp_path: Path, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sets of the kernel have him before, between and after the daemons."""
    tools = tmp_path / "tools"
    tools.mkdir()
    install_tools(tools)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    (tmp_path / "plugins.toml").write_text("[garden]\n[garden.unpaid]\n")
    users = {
        "user1": RadiusUser(PASSWORD, {"Cisco-AVPair": ["garden=unpaid"]}),
        "user2": RadiusUser(PASSWORD),
        "user3": RadiusUser("another"),
    }
    tail = 'load plugin "garden"\n'
    with Stage(tmp_path, users, tail=tail, save_state="yes", dataplane="user") as stage:

        async def restarted(stage: Stage) -> None:
            free = await stage.log_in("user2")
            unpaid, refused = stage.call("user1"), stage.call("user3")
            await soon(unpaid.up)
            await soon(refused.up)
            trapped = {"garden_unpaid": unpaid.ip, "garden": refused.ip}
            await until(lambda: members(stage) == trapped, "nobody is trapped")
            await stop(stage, number)
            assert members(stage) == trapped
            await start(stage)
            assert members(stage) == trapped
            assert "Stop" not in {
                record["Acct-Status-Type"] for record in stage.site.radius.records()
            }
            row = stage.session_of("user3")
            await ungarden(stage, row["session_id"])
            assert members(stage) == {"garden_unpaid": unpaid.ip}
            await ping(free)

        stage.play(restarted)


async def ungarden(stage: Stage, session_id: int) -> None:
    nsctl = [sys.executable, "-m", "l2tpns_core.control.client", "127.0.0.1"]
    await asyncio.to_thread(stage.site.lns.run, [*nsctl, "ungarden", str(session_id)])


def members(stage: Stage) -> dict[str, str]:
    """The addresses in the gardens' sets, which have one each at most."""
    listing = json.loads(stage.site.lns.run(["nft", "-j", "list", "table", "ip", "l2tpns"]).stdout)
    sets = [entry["set"] for entry in listing["nftables"] if "set" in entry]
    return {each["name"]: each["elem"][0] for each in sets if each.get("elem")}


@BOTH
def test_a_stop_that_radius_did_not_take_is_delivered_by_the_next_daemon(
    tmp_path: Path, number: signal.Signals
) -> None:
    with Stage(tmp_path, save_state="yes", dataplane="user", radius_timeout=60) as stage:

        async def restarted(stage: Stage) -> None:
            client = await stage.log_in("user1")
            stage.site.radius.stop()
            client.hangup()
            await soon(client.down)
            await stop(stage, number)
            stage.site.radius.start()
            await start(stage)
            await stage.stop_of("user1", "User-Request")

        stage.play(restarted)
