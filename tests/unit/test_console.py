"""`set` on the real console: what is put into force, and what the operator is told of it."""

import asyncio
from dataclasses import fields, replace
from ipaddress import IPv4Address
from types import SimpleNamespace
from typing import Any, cast

import pytest

from l2tpns_core.config.directive import ActsAt, Directive, Kind, format_value, parse_value
from l2tpns_core.config.directives import DIRECTIVES, Config
from l2tpns_core.config.errors import ConfigError
from l2tpns_core.console import Console
from l2tpns_core.daemon import Daemon
from l2tpns_core.observe.plane_report import PlaneReport
from l2tpns_core.options import parse_arguments
from l2tpns_core.startup import report_waiting
from support.memory import World

TEXTS = ("other", "chap", "/tmp/other", "192.0.2.99", "77")
"""One of them is a value for each directive that takes texts."""


def another_value(entry: Directive) -> str:
    """A value that is not the default."""
    if entry.kind is Kind.BOOLEAN:
        return "no" if entry.default else "yes"
    if entry.kind is Kind.CHOICE:
        return next(choice for choice in entry.choices if choice != entry.default)
    if entry.kind is Kind.ADDRESS:
        return "192.0.2.99"
    if entry.kind is Kind.INTEGER:
        assert isinstance(entry.default, int)
        assert entry.limits is not None
        return str(entry.default + 1 if entry.default < entry.limits[1] else entry.default - 1)
    return next(text for text in TEXTS if is_valid(entry, text))


def is_valid(entry: Directive, text: str) -> bool:
    try:
        parse_value(entry, text)
    except ConfigError:
        return False
    return True


class Desk:
    """A console, and what it has put into force."""

    def __init__(self) -> None:
        self.applied: list[Config] = []
        parts: Any = SimpleNamespace(status=None, counters=None)
        report = PlaneReport("user", "user", "", "tun0", 0)
        self.console = Console(
            World().lns,
            *(parts, parts),
            World().plane.plane_counters,
            lambda: report,
            Config(),
            self.applied.append,
            parts,
        )


@pytest.mark.parametrize("name", DIRECTIVES)
def test_set_acts_and_says_when(name: str) -> None:
    entry, desk = DIRECTIVES[name], Desk()
    text = another_value(entry)
    line = desk.console.set_directive(name, text)
    value = parse_value(entry, text)
    assert value != entry.default
    assert desk.applied == [replace(Config(), **{name: value})]  # type: ignore[arg-type]
    assert desk.console.config == desk.applied[0]
    shown = "(hidden)" if entry.secret else format_value(entry, value).strip('"')
    end = "" if entry.acts_at is ActsAt.NOW else f" (acts {entry.acts_at.value})"
    if not entry.acts:
        end = " (it has no effect in this release)"
    assert line == f'Setting "{name}" to "{shown}"{end}'
    assert not entry.secret or text not in line


@pytest.mark.parametrize(
    ("name", "text"), [("debug", "9"), ("no_such", "1"), ("primary_dns", "dns.example")]
)
def test_what_is_refused_changes_nothing(name: str, text: str) -> None:
    desk = Desk()
    with pytest.raises(ConfigError):
        desk.console.set_directive(name, text)
    assert desk.applied == []
    assert desk.console.config == Config()


def every_other() -> Config:
    """A configuration in which nothing is what it was."""
    changed = {name: parse_value(entry, another_value(entry)) for name, entry in DIRECTIVES.items()}
    return Config(**changed)  # type: ignore[arg-type]


class Recorder:
    """Some part of the daemon: takes every call, and keeps it."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> None:
            self.calls.append((name, *arguments))

        return call


def test_what_waits_for_a_restart_is_not_put_into_force() -> None:
    """Of a daemon that is told to change everything."""
    before, wanted = Config(hostname="lns"), every_other()

    async def act() -> Daemon:
        daemon = Daemon(parse_arguments(["-c", "nowhere"]))
        daemon.running = before
        parts = Recorder()
        for name in ("log_control", "radius", "courier", "plane", "lns", "_host", "_control"):
            setattr(daemon, name, parts)
        daemon._exporter = cast(Any, Exporter())
        daemon.apply(wanted)
        await asyncio.gather(*daemon._tasks)
        assert ("configure", daemon.running) in parts.calls
        return daemon

    running = asyncio.run(act()).running
    for field in fields(Config):
        waits = DIRECTIVES[field.name].acts_at is ActsAt.RESTART
        expected = getattr(before if waits else wanted, field.name)
        assert getattr(running, field.name) == expected, field.name


class Exporter:
    async def configure(self, address: IPv4Address, port: int) -> None:
        assert port


def test_a_reload_names_what_waits_for_a_restart(caplog: pytest.LogCaptureFixture) -> None:
    running = Config(hostname="lns")
    report_waiting(running, replace(running, l2tp_port=1799, hostname="other", as_number=64_512))
    assert caplog.messages == [
        "hostname has changed in the file, which acts at the next restart",
        "l2tp_port has changed in the file, which acts at the next restart",
        "as_number has changed in the file, which acts at the next restart",
    ]
