"""Every command is carried out here once, and its answer is looked at, as text and as JSON."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from l2tpns_core.cli.commands import process
from l2tpns_core.cli.evaluate import evaluate
from l2tpns_core.cli.grammar import Access, Mode
from l2tpns_core.dataplane.plane import SessionCounters
from l2tpns_core.life import Life, Step
from l2tpns_core.observe.counters import Bandwidth
from l2tpns_core.observe.plane_report import PlaneReport
from unit.cli.fakes import (
    GRAMMAR,
    WALL,
    FakeBgp,
    FakeCluster,
    FakeContext,
    FakeRequest,
    four_sessions,
)

ROOT = Path(__file__).parents[3]
REFERENCE = (ROOT / "docs" / "reference" / "commands.md").read_text()
EXEC, CONFIG = Mode.EXEC, Mode.CONFIG
STANDARD, EXTENDED = Mode.STANDARD_LIST, Mode.EXTENDED_LIST
SECTIONS = {STANDARD: "web", EXTENDED: "mail"}
"""The access list that each mode of its own is about."""

MANUAL = (
    *("help", "show session", "show users", "show tunnel", "show pool", "show radius"),
    *("show running-config", "show counters", "clear counters", "show cluster", "write memory"),
    *("snoop", "no snoop", "throttle", "no throttle", "drop session", "drop tunnel", "uptime"),
    *("configure terminal", "exit"),
)
"""What the manual has outside of configuration mode."""
MANUAL_CONFIG = ("load plugin", "remove plugin", "set", "exit")
LATER = (
    *("show throttle", "show plugins", "show histogram idle", "show histogram open"),
    *("show dataplane", "show bgp", "show version", "show access-list", "write terminal"),
    *("drop user", "debug", "no debug", "reload", "shutdown", "enable", "disable", "history"),
    *("filter", "no filter", "quit", "logout", "show top", "why"),
    *("terminal length", "terminal width"),
    *("suspend bgp", "no suspend bgp", "restart bgp", "cluster drain", "no cluster drain"),
)
"""What operators know from later releases, and what is new here."""


class Plugins(SimpleNamespace):
    """The plugins of a daemon that has one, and could have another."""

    def loaded(self) -> list[Any]:
        return [
            SimpleNamespace(
                name=name, version="1.0", distribution="dist", statistics={}, background=None
            )
            for name in self.names
        ]

    def available(self) -> list[Any]:
        return [SimpleNamespace(name="spare", version="2.0", distribution="spare-dist")]


class Context(FakeContext):
    """A daemon with plugins, which keeps what it was told to do."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[str, ...]] = []
        self.plugins: Any = Plugins(names=[])

    def plugin_names(self) -> list[str]:
        return list(self.plugins.names)

    def load_plugin(self, name: str) -> str:
        self.told.append(("load", name))
        return f"Plugin {name} loaded"

    def remove_plugin(self, name: str) -> str:
        self.told.append(("remove", name))
        return f"Plugin {name} removed"


def idle() -> Context:
    """A daemon that was just started."""
    return Context()


def busy() -> Context:
    """One with sessions, lists, plugins, requests: something for every command to show."""
    context, four = Context(), four_sessions()
    context.lns = four.lns
    context.version = "10.0.0"
    context.plugins = Plugins(names=["garden"])
    context.values = {"tunnel_created": 7}
    context.requests = [FakeRequest()]
    context.rates = Bandwidth(6e6, 6e6, 13e6, 12.6e6, 3033, 2569)
    context.plane = PlaneReport("user", "auto", "no BPF here", "tun7", 4)
    context.config = replace(context.config, as_number=64_512, debug=3)
    context.bgp, context.cluster = FakeBgp(), FakeCluster()
    first = next(iter(context.lns.sessions.values()))
    first.life = life = Life()
    life.add(WALL - 20, Step.CALLED, "10.9.0.101 0155>0800")
    context.run("ip access-list standard web", CONFIG)
    context.run("permit host 10.99.0.1", access=Access(STANDARD, True, "web"))
    context.run("ip access-list extended mail", CONFIG)
    return context


Seen = Callable[[Context], bool]


class Example(NamedTuple):
    """A line, a text of its answer, and what it did."""

    line: str
    text: str = ""
    mode: Mode | None = EXEC
    did: Seen = lambda context: True
    before: tuple[str, ...] = ()
    """Commands that make it possible."""
    action: list[str] = []  # noqa: RUF012 - never changed
    """What is left to the shell."""


def has(number: int, **values: object) -> Seen:
    """A session, by its number, that has become so."""

    def look(context: Context) -> bool:
        session = context.lns.find_session(str(number))
        return all(getattr(session, name) == value for name, value in values.items())

    return look


def dropped(kind: str, number: int) -> Seen:
    return lambda context: (kind, number) in context.lns.dropped


def told(*words: str) -> Seen:
    return lambda context: words in context.told


def has_list(name: str, *, there: bool = True) -> Seen:
    return lambda context: (context.access_lists.get(name) is not None) is there


def is_rule(name: str, rule: str) -> Seen:
    return lambda context: f" {rule}" in context.run(f"show access-list {name}").lines


EXAMPLES: dict[str, Example] = {
    "clear counters": Example(
        "clear counters",
        "Counters cleared",
        did=lambda context: "tunnel_created                0" in context.run("show counters").text,
    ),
    "configure terminal": Example("configure terminal", mode=CONFIG),
    "debug": Example("debug calls", action=["debug", "calls"]),
    "disable": Example("disable", action=["disable"]),
    "drop session": Example("drop session 2", "Dropping session 2", did=dropped("session", 2)),
    "drop tunnel": Example("drop tunnel 3", "Tunnel 3 shut down", did=dropped("tunnel", 3)),
    "drop user": Example("drop user carol", "Dropping user carol", did=dropped("session", 3)),
    "enable": Example("enable", action=["enable"]),
    "exit": Example("exit", mode=None),
    "filter": Example(
        "filter u1 in web out mail",
        "Filtering user u1",
        did=has(1, filter_in="web", filter_out="mail"),
    ),
    "help": Example("help", "  show session "),
    "history": Example("history", action=["history"]),
    "logout": Example("logout", mode=None),
    "no debug": Example("no debug info", action=["no", "debug", "info"]),
    "no filter": Example(
        "no filter u1 in",
        "Removing filters from user u1",
        before=("filter u1 in web out mail",),
        did=has(1, filter_in="", filter_out="mail"),
    ),
    "no snoop": Example(
        "no snoop u1",
        "Not snooping user u1",
        before=("snoop u1 10.99.0.1 9000",),
        did=has(1, snoop_ip=0, snoop_port=0),
    ),
    "no throttle": Example(
        "no throttle alice", "Unthrottling user alice", did=has(2, throttle_in=0, throttle_out=0)
    ),
    "quit": Example("quit", mode=None),
    "reload": Example("reload", "Reloading the configuration", did=told("SIGHUP")),
    "show access-list": Example("show access-list web", " permit host 10.99.0.1"),
    "cluster drain": Example(
        "cluster drain", "is drained", did=lambda context: context.cluster.is_draining
    ),
    "no cluster drain": Example(
        "no cluster drain",
        "takes part again",
        did=lambda context: not context.cluster.is_draining,
        before=("cluster drain",),
    ),
    "no suspend bgp": Example(
        "no suspend bgp",
        "Un-suspending peer 192.0.2.9",
        did=lambda context: ("no suspend", "") in context.bgp.told,
        before=("suspend bgp",),
    ),
    "restart bgp": Example(
        "restart bgp 192.0.2.9",
        "Restarting peer 192.0.2.9",
        did=lambda context: ("restart", "192.0.2.9") in context.bgp.told,
    ),
    "suspend bgp": Example(
        "suspend bgp",
        "Suspending peer 192.0.2.9",
        did=lambda context: context.bgp.is_suspended,
    ),
    "show bgp": Example("show bgp", "64513 Established"),
    "show cluster": Example("show cluster", "Multicast address: 239.192.13.13"),
    "show counters": Example("show counters", "tunnel_created                7"),
    "show dataplane": Example("show dataplane", "tun7"),
    "show histogram idle": Example("show histogram idle", "  0 seconds  :   50.00% (     2)"),
    "show histogram open": Example("show histogram open", "4 total sessions open."),
    "show plugins": Example("show plugins", "spare-dist"),
    "show pool": Example("show pool", "10.20.1.2          Y        4 frank"),
    "show radius": Example("show radius", "Used: 1"),
    "show running-config": Example("show running-config", "set as_number 64512"),
    "show session": Example("show session 4", "\tUser:\t\tfrank"),
    "show throttle": Example("show throttle", "alice"),
    "show top": Example("show top 5", "Sessions: 4   Tunnels: 2"),
    "show tunnels": Example("show tunnels 2", "\tVendor:\t\txelerance.com"),
    "show users": Example("show users", "u1\nalice\ncarol\nfrank"),
    "show version": Example("show version", "L2TPNS 10.0.0"),
    "shutdown": Example("shutdown", "Shutting down", did=told("SIGQUIT")),
    "snoop": Example(
        "snoop u1 10.99.0.1 9000",
        "Snooping user u1 to 10.99.0.1:9000",
        did=has(1, snoop_ip=0x0A630001, snoop_port=9000),
    ),
    "terminal length": Example("terminal length 30", action=["terminal", "length", "30"]),
    "terminal width": Example("terminal width 132", action=["terminal", "width", "132"]),
    "throttle": Example(
        "throttle carol in 64 out 128",
        "Throttling user carol",
        did=has(3, throttle_in=64, throttle_out=128),
    ),
    "uptime": Example("uptime", "Bandwidth: UDP-ETH:6/6  ETH-UDP:13/13  TOTAL:37.6"),
    "why": Example("why u1", "the LAC 10.9.0.101 announces a call"),
    "write memory": Example("write memory", "Configuration written to startup-config"),
    "write terminal": Example("write terminal", "set as_number 64512"),
}
"""By the words of the command."""

IN_CONFIG: dict[str, Example] = {
    "enable": Example("enable", mode=CONFIG, action=["enable"]),
    "end": Example("end", mode=EXEC),
    "exit": Example("exit", mode=EXEC),
    "help": Example("help", "  set  ", mode=CONFIG),
    "history": Example("history", mode=CONFIG, action=["history"]),
    "logout": Example("logout", mode=None),
    "quit": Example("quit", mode=None),
    "ip access-list extended": Example(
        "ip access-list extended new", mode=EXTENDED, did=has_list("new")
    ),
    "ip access-list standard": Example(
        "ip access-list standard new", mode=STANDARD, did=has_list("new")
    ),
    "no ip access-list extended": Example(
        "no ip access-list extended mail", mode=CONFIG, did=has_list("mail", there=False)
    ),
    "no ip access-list standard": Example(
        "no ip access-list standard web", mode=CONFIG, did=has_list("web", there=False)
    ),
    "load plugin": Example(
        "load plugin spare", "Plugin spare loaded", mode=CONFIG, did=told("load", "spare")
    ),
    "remove plugin": Example(
        "remove plugin garden", "Plugin garden removed", mode=CONFIG, did=told("remove", "garden")
    ),
    "set": Example(
        "set primary_dns 9.9.9.9",
        'Setting "primary_dns" to 9.9.9.9',
        mode=CONFIG,
        did=lambda context: str(context.config.primary_dns) == "9.9.9.9",
    ),
}


def in_list(mode: Mode, name: str, rule: str) -> dict[str, Example]:
    """What is there while an access list is written."""
    removed = IN_CONFIG[f"no ip access-list {'standard' if mode is STANDARD else 'extended'}"]
    other = IN_CONFIG[f"no ip access-list {'extended' if mode is STANDARD else 'standard'}"]
    return {
        **{
            words: IN_CONFIG[words]._replace(mode=IN_CONFIG[words].mode and mode)
            for words in ("enable", "help", "history", "logout", "quit")
        },
        "help": Example("help", "  permit", mode=mode),
        "end": Example("end", mode=EXEC),
        "exit": Example("exit", mode=CONFIG),
        "permit": Example(f"permit {rule}", mode=mode, did=is_rule(name, f"permit {rule}")),
        "deny": Example(f"deny {rule}", mode=mode, did=is_rule(name, f"deny {rule}")),
        "ip access-list extended": IN_CONFIG["ip access-list extended"],
        "ip access-list standard": IN_CONFIG["ip access-list standard"],
        " ".join(removed.line.split()[:-1]): removed,
        " ".join(other.line.split()[:-1]): other._replace(mode=mode),
    }


BY_MODE = {
    EXEC: EXAMPLES,
    CONFIG: IN_CONFIG,
    STANDARD: in_list(STANDARD, "web", "host 10.98.0.1"),
    EXTENDED: in_list(EXTENDED, "mail", "tcp any any eq 25"),
}
ALL = [(mode, words) for mode, examples in BY_MODE.items() for words in examples]
SHOWS = [words for words in EXAMPLES if words.startswith("show ")] + ["uptime", "why"]


def access_in(mode: Mode) -> Access:
    return Access(mode, True, SECTIONS.get(mode, ""))


@pytest.fixture
def context(monkeypatch: pytest.MonkeyPatch) -> Context:
    made = busy()
    monkeypatch.setattr(process, "_signal_daemon", lambda number: made.told.append((number.name,)))
    return made


@pytest.mark.parametrize("mode", Mode)
def test_every_command_has_an_example(mode: Mode) -> None:
    commands = {" ".join(command.words) for command in GRAMMAR.commands(Access(mode))}
    assert commands == set(BY_MODE[mode])


@pytest.mark.parametrize(("mode", "words"), ALL)
def test_it_does_what_it_says(context: Context, mode: Mode, words: str) -> None:
    example = BY_MODE[mode][words]
    for line in example.before:
        context.run(line)
    result = evaluate(example.line, context, GRAMMAR, access_in(mode))
    if result.wait is not None:
        result.wait()
    text = "\n".join(line for line in result.lines if line is not None)
    assert (result.error, result.mode) == ("", example.mode)
    assert example.text in text
    assert result.action == example.action
    assert example.did(context)


@pytest.mark.parametrize(("mode", "words"), ALL)
def test_its_json_is_one_document(context: Context, mode: Mode, words: str) -> None:
    example = BY_MODE[mode][words]
    for line in example.before:
        context.run(line)
    screen = context.run(example.line, access=access_in(mode), json=True)
    assert screen.error == ""
    assert isinstance(json.loads(screen.text), dict | list)
    assert example.did(context)


@pytest.mark.parametrize("words", SHOWS)
def test_what_is_shown_as_json_comes_from_the_daemon(words: str) -> None:
    """It says something, and something else of another daemon."""
    line = {"why": "why u1", "show access-list": "show access-list web"}.get(words, words)
    answers = [json.loads(made().run(line, json=True).text) for made in (busy, idle)]
    assert answers[0]
    assert answers[0] != answers[1]


@pytest.mark.parametrize("words", SHOWS)
def test_what_the_screen_tells_of_a_session_is_in_the_json(words: str) -> None:
    context = busy()
    session = context.lns.find_session("4")
    session.user, session.throttle_in, session.life = "needle", 77_777, Life()
    session.life.add(WALL - 5, Step.LOGIN, "CHAP_MD5 needle")
    context.lns.traffic[session.key] = SessionCounters(66_666, 55_555, 1, 1, 4000.0, 4000.0)
    line = EXAMPLES[words].line.replace("u1", "needle")
    screen, data = context.run(line), context.run(line, json=True)
    assert not screen.error
    for mark in ("needle", "77777", "66666", "55555"):
        assert mark not in screen.text or mark in data.text, mark


@pytest.mark.parametrize(
    ("mode", "words"),
    [*((EXEC, words) for words in MANUAL + LATER), *((CONFIG, words) for words in MANUAL_CONFIG)],
)
def test_what_operators_know_is_there_and_documented(mode: Mode, words: str) -> None:
    example = BY_MODE[mode].get(words)
    command = GRAMMAR.match((example.line if example else words).split(), Access(mode)).command
    assert not command.hidden
    assert re.search(rf"^\| `{' '.join(command.words)}[ `]", REFERENCE, re.MULTILINE)
