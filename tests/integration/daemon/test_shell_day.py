"""A whole day's work of an operator on a real daemon, by every way in: telnet as a terminal, telnet
as a program, `l2tpns-cli` on a terminal and for scripts. Screens are held against those of the
original (its wording, its columns, its order)."""

import asyncio
import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.daemon.stage import LAC_ADDRESS, Stage, ping, soon, until
from l2tpns_core.lab import RadiusUser
from support.telnet import TERMINAL, Caller
from support.terminal import TerminalProgram

pytestmark = [pytest.mark.daemon, pytest.mark.netns, pytest.mark.slow]

PORT = 2323
PASSWORD = "$5$abcdefgh$gruCpC7VkOTspMQTTSAR8mtlO9Upms.fwqE5y16JVM."
"""Of `secret`."""
SESSION_HEADER = (
    "  SID   TID Username                         IP              I T G     opened downloaded "
    "  uploaded idle LAC             CLI"
)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    users = {
        "u1": RadiusUser("password"),
        "alice": RadiusUser("password", {"Framed-IP-Address": ["10.20.5.5"]}),
    }
    users_file = tmp_path / "users"
    users_file.write_text(f"admin:{PASSWORD}\nenable:up\n")
    users_file.chmod(0o600)
    directives = {"cli_port": PORT, "cli_bind_address": "0.0.0.0", "hostname": "vm", "debug": 3}
    with Stage(tmp_path, users, "10.20.1.0/24\n", **directives) as stage:
        yield stage


class Telnet(Caller):
    """An operator by telnet, as a terminal or as a program."""

    def __init__(self, stage: Stage, host: str = "127.0.0.1", *, terminal: bool = True) -> None:
        where = stage.site.lns if host == "127.0.0.1" else stage.site.lac
        super().__init__(where.call(socket.create_connection, (host, PORT), 15))
        if terminal:
            self.send(TERMINAL + b"\xff\xfa\x1f" + bytes((0, 160, 0, 0)) + b"\xff\xf0")

    def say(self, line: str, prompt: str = "vm# ") -> list[str]:
        """A command; the lines of its screen, without the echo and the prompt."""
        self.send(line.encode() + b"\r\n")
        text = self.until(b"\n" + prompt.encode()).decode().replace("\r", "")
        lines = text.split("\n")[:-1]
        if lines and lines[0].strip() == line:
            del lines[0]
        return lines[:-1] if lines and not lines[-1] else lines


async def in_thread(function: object, *arguments: object) -> None:
    """A blocking part of the day, while the subscribers' side goes on."""
    await asyncio.to_thread(function, *arguments)  # type: ignore[arg-type]


def test_a_day(stage: Stage) -> None:
    async def act(stage: Stage) -> None:
        await until(lambda: "telnet on 0.0.0.0" in stage.site.log(), "no telnet")
        u1, alice = await stage.log_in("u1"), await stage.log_in("alice")
        await ping(u1)
        await ping(alice)
        await in_thread(look_by_telnet, stage)
        await in_thread(come_from_elsewhere, stage)
        await in_thread(change_by_telnet, stage)
        await in_thread(use_pipes, stage)
        await in_thread(use_the_terminal, stage)
        assert not u1.down.done()
        await in_thread(drop_a_user, stage)
        await soon(u1.down)
        await in_thread(find_out_why, stage)

    stage.play(act)
    restart_and_look_again(stage)


def look_by_telnet(stage: Stage) -> None:
    """Not privileged, from the machine itself: everything may be seen, nothing changed."""
    telnet = Telnet(stage)
    with telnet.connection:
        telnet.until(b"vm> ")
        session = telnet.say("show session", "vm> ")
        assert session[0] == SESSION_HEADER
        first, second = session[1:]
        row = rf" +1 +\d+ u1 +10\.20\.1\.1 +N N N +\d+ +64 +64 +\d+ {LAC_ADDRESS} +\*"
        assert re.fullmatch(row, first), first
        assert re.match(r" +2 +\d+ alice +10\.20\.5\.5 +N N N ", second), second
        assert telnet.say("sh ses | count", "vm> ") == ["3"]  # with the header, as the original
        assert telnet.say("show users", "vm> ") == ["u1", "alice"]
        assert telnet.say("show session | include alice | count", "vm> ") == ["1"]
        assert telnet.say("show session | exclude alice | begin u1", "vm> ")[0].split()[2] == "u1"
        look_at_details(telnet)
        tunnel = telnet.say("show tunnel", "vm> ")
        assert tunnel[0].split() == ["TID", "Hostname", "IP", "State", "Sessions"]
        assert tunnel[1].split()[1:] == ["lab-lac", LAC_ADDRESS, "Open", "2"]
        pool = telnet.say("show pool", "vm> ")
        assert pool[0] == "IP Address      Used  Session User"
        assert pool[1].split() == ["10.20.1.1", "Y", "1", "u1"]
        assert pool[2:] == ["(Not displaying unused addresses)", "", "Free: 253", "Used: 1"]
        assert telnet.say("show version", "vm> ")[0].startswith("L2TPNS ")
        assert telnet.say("show cluster", "vm> ")[0] == "Cluster status   : Master"
        idle = telnet.say("show histogram idle", "vm> ")
        assert re.fullmatch(r"  0 seconds  :  100.00% \( +2\)", idle[0]), idle
        uptime = telnet.say("uptime", "vm> ")
        assert re.fullmatch(r"\d\d:\d\d:\d\d up \d+ secs?, 2 users, load average: .*", uptime[0])
        assert uptime[1].startswith("Bandwidth: UDP-ETH:0/0  ETH-UDP:0/0  TOTAL:0.0   IN:")
        assert telnet.say("configure terminal", "vm> ") == ['Invalid command "configure"']
        assert telnet.say("drop user u1", "vm> ") == ['Invalid command "drop"']
        telnet.send(b"exit\r\n")
        telnet.rest()


def look_at_details(telnet: Telnet) -> None:
    """`show session ID`: the original's labels in its order."""
    labels = [
        line.split(":")[0].strip() for line in telnet.say("show session 1", "vm> ") if ":" in line
    ]
    original = ["Session 1", "User", "Calling Num", "Called Num", "Tunnel ID", "PPP Phase"]
    original += ["IPCP state", "IP address", "Unique SID", "Opened", "Idle time", "Bytes In/Out"]
    original += ["Pkts In/Out", "MRU", "Rx Speed", "Tx Speed", "Intercepted", "Walled Garden"]
    original += ["Throttled"]
    assert [label for label in labels if label in original] == original


def come_from_elsewhere(stage: Stage) -> None:
    """A login is asked for; a wrong password gets the original's words."""
    telnet = Telnet(stage, "192.0.2.1")
    with telnet.connection:
        telnet.until(b"Username: ")
        telnet.send(b"admin\r\n")
        telnet.until(b"Password: ")
        telnet.send(b"guess\r\n")
        telnet.until(b"Access denied")
        telnet.until(b"Username: ")
        telnet.send(b"admin\r\n")
        telnet.until(b"Password: ")
        telnet.send(b"secret\r\n")
        telnet.until(b"vm> ")
        assert telnet.say("enable", "Password: ")[:1] != ["Access denied"]
        telnet.send(b"wrong\r\n")
        telnet.until(b"Access denied")
        telnet.until(b"vm> ")


def change_by_telnet(stage: Stage) -> None:
    """enable; throttle, snoop, configure, save."""
    telnet = Telnet(stage)
    with telnet.connection:
        telnet.until(b"vm> ")
        telnet.send(b"enable\r\n")
        telnet.until(b"Password: ")
        telnet.send(b"up\r\n")
        telnet.until(b"vm# ")
        assert telnet.say("throttle u1 512") == ["Throttling user u1"]
        assert telnet.say("throttle nobody 3") == ["User nobody is not connected"]
        assert telnet.say("snoop u1 198.51.100.2 9000") == ["Snooping user u1 to 198.51.100.2:9000"]
        row = telnet.say("show session | include u1")[0]
        assert " Y Y N " in row, row
        eyes = Telnet(stage)  # who is not privileged sees no interception
        with eyes.connection:
            eyes.until(b"vm> ")
            assert " N Y N " in eyes.say("show session | include u1", "vm> ")[0]
            assert "Intercepted:\tno" in "".join(eyes.say("show session 1", "vm> "))
            assert "site-secret" not in "".join(eyes.say("write terminal", "vm> "))
        assert telnet.say("no snoop u1") == ["Not snooping user u1"]
        assert telnet.say("no throttle u1") == ["Unthrottling user u1"]
        telnet.say("configure terminal", "vm(config)# ")
        changed = telnet.say('set primary_dns "8.8.4.4"', "vm(config)# ")
        assert changed[0].startswith('Setting "primary_dns" to "8.8.4.4"')
        unknown = telnet.say("set nonsense 1", "vm(config)# ")
        assert unknown[0].startswith('Unknown variable "nonsense"'), unknown
        telnet.say("exit")
        running = telnet.say("show running-config | grep primary_dns")
        assert running == ["set primary_dns 8.8.4.4"]
    save(stage)


def save(stage: Stage) -> None:
    """What the daemon runs with becomes its startup-config, beside what is in it."""
    path = stage.site.directory / "startup-config"
    before = path.read_text()
    path.write_text(f"# edited meanwhile\n{before}")
    refused = subprocess.run(
        [*cli(stage), "write", "memory"], capture_output=True, text=True, timeout=30, check=False
    )
    assert refused.returncode == 1
    assert "has changed since it was read" in refused.stderr
    path.write_text(before)
    done = subprocess.check_output([*cli(stage), "wr", "mem"], text=True)
    after = path.read_text()
    assert done == f"Configuration written to {path} ({len(after)} bytes)\n"
    assert 'set primary_dns "9.9.9.9"' in before  # which was changed by telnet
    default = 'set dataplane "auto"\n'  # unless the user-space plane is tried
    assert after == before.replace(default, "").replace('"9.9.9.9"', "8.8.4.4")
    assert subprocess.check_output([*cli(stage), "write", "memory"], text=True) == (
        f"{path} says that already\n"
    )


def use_pipes(stage: Stage) -> None:
    """A program that sends its lines and reads what comes (`nc`): nothing but answers."""
    telnet = Telnet(stage, terminal=False)
    with telnet.connection:
        telnet.send(b"show users\nshow users | count\nquit\n")
        text = telnet.rest()
    assert text.replace(b"\r", b"").endswith(b"u1\nalice\n2\n"), text
    assert b"vm>" not in text
    script = "# a script\nshow users\nshow nonsense\nshow session | count\n"
    done = subprocess.run(
        cli(stage), input=script, capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout) == (1, "u1\nalice\n3\n")
    assert done.stderr == 'Invalid command "show nonsense"\n'
    rows = json.loads(subprocess.check_output([*cli(stage), "--json", "show", "session"]))
    assert [(row["user"], row["ip"]) for row in rows] == [
        ("u1", "10.20.1.1"),
        ("alice", "10.20.5.5"),
    ]


def use_the_terminal(stage: Stage) -> None:
    """`l2tpns-cli` on a terminal: Tab, `?`, pages, Ctrl-Z, history."""
    with TerminalProgram(cli(stage), rows=12) as terminal:
        terminal.until(r"vm#")
        terminal.send("sh ver\r")
        terminal.until(r"L2TPNS \d")
        terminal.until(r"vm#")
        terminal.send("drop user al\t")
        terminal.until(r"ice")
        terminal.send("\x15show ?")
        terminal.until(r"version +Show currently running software version")
        terminal.send("\x15show counters\r")
        terminal.until(r"--More--")
        terminal.send("q")
        terminal.until(r"vm#")
        terminal.send("configure terminal\r")
        terminal.until(r"vm\(config\)#")
        terminal.send("\x1a")
        terminal.until(r"vm#")
        terminal.send("history\r")
        terminal.until(r"0\. sh ver")
        terminal.until(r"vm#")
        terminal.send("exit\r")
        assert terminal.ended() == 0


def drop_a_user(stage: Stage) -> None:
    telnet = Telnet(stage, terminal=False)
    with telnet.connection:
        telnet.send(b"enable\nup\ndrop user nobody\ndrop session abc\ndrop user u1\nquit\n")
        lines = telnet.rest().decode(errors="replace").replace("\r", "").splitlines()
    assert lines[-1] == "Dropping user u1"
    assert "User nobody is not connected" in lines


def find_out_why(stage: Stage) -> None:
    """The life of a session that has ended, and the live view."""
    text = subprocess.check_output([*cli(stage), "why", "u1"], text=True)
    steps = [
        "the LAC 192.0.2.2 announces a call",
        "the call is connected",
        "LCP is up",
        "Login as u1 by PAP, RADIUS is asked",
        "RADIUS accepts",
        "Address 10.20.1.1 from the pool",
        "IPCP is up",
        "Accounting-Start sent",
        "Limits changed: 512 kbit/s up, 512 kbit/s down",
        "Limits changed: none",
        "We end it: dropped by the operator",
        "Accounting-Stop sent",
    ]
    places = [text.find(step) for step in steps]
    assert -1 not in places, (steps[places.index(-1)], text)
    assert places == sorted(places), text
    top = json.loads(subprocess.check_output([*cli(stage), "top", "--once", "--json"]))
    assert (top["sessions"], top["tunnels"]) == (1, 1)
    assert 0 < top["radius"][0]["latency_mean_s"] < 15
    assert top["interval_s"] >= 1
    screen = subprocess.check_output([*cli(stage), "top", "--once"], text=True)
    assert "Sessions: 1   Tunnels: 1" in screen


def restart_and_look_again(stage: Stage) -> None:
    """What was saved is in force after a restart."""
    stage.site.daemon.send_signal(signal.SIGTERM)
    stage.site.daemon.wait(60)
    stage.site.daemon = stage.site._start_daemon()
    stage.site._wait_until_ready()

    async def act(stage: Stage) -> None:
        await until(lambda: "telnet on 0.0.0.0" in stage.site.log(), "no telnet")
        client = await stage.log_in("alice")
        assert client.dns[0] == "8.8.4.4"

        def look() -> None:
            telnet = Telnet(stage)
            with telnet.connection:
                telnet.until(b"vm> ")
                assert telnet.say("show users", "vm> ") == ["alice"]
                assert telnet.say("write terminal | grep primary_dns", "vm> ")

        await in_thread(look)

    stage.play(act)


def test_a_port_that_is_taken_costs_one_line_and_no_subscriber(tmp_path: Path) -> None:
    """Telnet is not there, everything else is; when the port is free again, telnet comes."""

    async def act(stage: Stage) -> None:
        taken = stage.site.lns.call(socket.create_server, ("127.0.0.1", PORT + 1))
        try:
            stage.site.daemon.send_signal(signal.SIGTERM)
            await asyncio.to_thread(stage.site.daemon.wait, 60)
            stage.site.write_config(cli_port=PORT + 1)
            stage.site.daemon = stage.site._start_daemon()
            stage.site._wait_until_ready()
            line = "cannot listen on TCP 127.0.0.1:2324 for telnet: Address already in use"
            await until(lambda: line in stage.site.log(), "no word of it")
            stage.tunnel = await stage.lac.open_tunnel()
            await stage.log_in("user-a")
        finally:
            taken.close()
        await until(lambda: "telnet on 127.0.0.1:2324" in stage.site.log(), "telnet stays away")
        assert stage.site.log().count("cannot listen") == 1
        assert len([one for one in stage.site.log().splitlines() if "telnet" in one]) == 2

    with Stage(tmp_path) as stage:
        stage.play(act)


def cli(stage: Stage) -> list[str]:
    return [sys.executable, "-m", "l2tpns_core.cli.shell", "-s", str(stage.site.cli_socket)]
