"""Requests become events, commands and answers; every answer of the reference, word for word."""

import logging
from pathlib import Path

import pytest

from l2tpns_core.control import wire
from l2tpns_core.control.client import BUILT_IN_HELP
from l2tpns_core.control.commands import COMMANDS
from l2tpns_core.control.dispatch import Cluster, Dispatcher
from l2tpns_core.control.wire import Kind, Outcome, Reply
from l2tpns_core.plugins import (
    PLUGIN_RET_ERROR,
    PLUGIN_RET_NOTMASTER,
    PLUGIN_RET_OK,
    PLUGIN_RET_STOP,
    ParamControl,
    PluginResult,
    hookimpl,
)
from l2tpns_core.plugins.discovery import PluginError
from l2tpns_core.plugins.manager import PluginManager
from unit.control.fakes import FakeLns

SOURCE = ("192.0.2.7", 40000)
OK = Reply(Outcome.OK)


class Answering:
    """A plugin that answers with what a test tells it."""

    plugin_control_help = ("  frob SID                                    Frob it", 7, "\x1b[2J")

    def __init__(
        self,
        result: PluginResult | None = None,
        response: bytes = b"",
        send: int = 1,
        length: int = 0,
    ) -> None:
        self.result, self.response, self.send, self.length = result, response, send, length
        self.seen: list[ParamControl] = []

    @hookimpl
    def control(self, param: ParamControl) -> PluginResult | None:
        self.seen.append(param)
        param.response, param.response_length = self.response, self.length
        param.send_response = self.send
        return self.result


class Desk:
    """A dispatcher with its surroundings."""

    def __init__(self, *plugins: object, cluster: Cluster | None = None) -> None:
        self.lns = FakeLns()
        self.lns.add()
        self.plugins = PluginManager()
        for number, plugin in enumerate(plugins):
            self.plugins.register(f"p{number}", plugin)
        self.dispatcher = Dispatcher(self.lns, self.plugins, cluster)

    def ask(self, line: str, kind: Kind = Kind.CONTROL) -> Reply:
        return self.send(wire.encode_request(kind, line.split()))

    def send(self, packet: bytes) -> Reply:
        return self.dispatcher.answer(wire.decode_request(packet), packet, SOURCE)


def test_nobody_knows_the_command() -> None:
    assert Desk().ask("frob 1") == Reply.error("unhandled action")
    assert Desk().ask("") == Reply.error("unhandled action")


def test_a_plugin_gets_all_fields_of_the_event() -> None:
    plugin = Answering()
    packet = wire.encode_request(Kind.CONTROL, ["frob", "5"])
    Desk(plugin).send(packet)
    (param,) = plugin.seen
    assert (param.buf, param.l) == (packet, len(packet))
    assert (param.source_ip, param.source_port) == SOURCE
    assert (param.type, param.id) == (0x14, 0)
    assert (param.data, param.data_length) == (packet[4:], len(packet) - 4)
    assert (param.argc, param.argv, param.iam_master) == (2, ("frob", "5"), 1)


def test_the_manuals_garden_request_reaches_plugins_with_its_id() -> None:
    plugin = Answering(response=b"done")
    reply = Desk(plugin).send(wire.encode_first_request(1001, 77, ["5", "alice"]))
    assert reply == Reply(Outcome.OK, ("done",))
    (param,) = plugin.seen
    assert (param.type, param.id, param.argv) == (1001, 77, ("ungarden", "5", "alice"))
    assert param.data == b"5\0alice\0"


@pytest.mark.parametrize(
    ("plugin", "reply"),
    [
        (Answering(), OK),
        (Answering(PLUGIN_RET_OK, b"done"), Reply(Outcome.OK, ("done",))),
        (Answering(PLUGIN_RET_STOP, b"done\0"), Reply(Outcome.OK, ("done",))),
        (Answering(PLUGIN_RET_STOP, send=0), OK),
        (Answering(PLUGIN_RET_STOP, b"one\ntwo\n"), Reply(Outcome.OK, ("one", "two"))),
        (Answering(PLUGIN_RET_OK, b"done+junk", length=4), Reply(Outcome.OK, ("done",))),
        (Answering(PLUGIN_RET_ERROR, b"no such thing"), Reply.error("no such thing")),
        (Answering(PLUGIN_RET_ERROR, send=0), Reply.error("error returned by plugin")),
        (
            Answering(PLUGIN_RET_NOTMASTER),
            Reply.error("must be run on master: none elected"),
        ),
        (Answering(send=0, response=b"unsent"), Reply.error("unhandled action")),
    ],
)
def test_the_plugins_verdict_is_the_answer(plugin: Answering, reply: Reply) -> None:
    assert Desk(plugin).ask("frob 1") == reply


@pytest.mark.parametrize(
    "plugin",
    [
        Answering(response=b"abc", length=4),
        Answering(response=b"abc", length=-1),
        Answering(response=b"a" * 256),
        Answering(PLUGIN_RET_ERROR, response=b"a\n" * 300),
    ],
)
def test_a_response_that_cannot_be_sent_is_not_cut_silently(plugin: Answering) -> None:
    assert Desk(plugin).ask("frob 1") == Reply.error("unrecognised response value from plugin")


def test_plugins_come_before_the_commands_of_the_core() -> None:
    desk = Desk(Answering(response=b"mine"))
    assert desk.ask("drop 1") == Reply(Outcome.OK, ("mine",))
    assert desk.lns.calls == []


def test_the_core_answers_what_plugins_leave() -> None:
    desk = Desk(Answering(send=0))
    assert desk.ask("drop 1") == OK
    assert desk.lns.calls == [("drop", 1, "Requested by administrator.")]
    assert desk.ask("drop 2") == Reply.error("session not found")


def test_a_plugin_that_raises_does_not_keep_the_others_from_answering() -> None:
    class Broken:
        @hookimpl
        def control(self, param: ParamControl) -> None:
            raise RuntimeError("broken")

    assert Desk(Broken(), Answering(response=b"fine")).ask("frob 1").lines == ("fine",)


def test_a_slave_sends_to_the_master() -> None:
    plugin = Answering(send=0)
    cluster = Cluster(lambda: False, lambda: "192.0.2.1")
    desk = Desk(plugin, cluster=cluster)
    assert desk.ask("drop 1") == Reply.error("must be run on master: 192.0.2.1")
    assert desk.lns.calls == []
    assert plugin.seen[0].iam_master == 0
    assert desk.ask("frob 1") == Reply.error("unhandled action")


def test_help_lists_the_core_and_every_plugin() -> None:
    reply = Desk(Answering()).ask("", Kind.HELP)
    assert reply.outcome is Outcome.OK
    assert [line.split()[0] for line in reply.lines[:6]] == [
        "drop",
        "kill",
        "throttle",
        "unthrottle",
        "snoop",
        "unsnoop",
    ]
    assert reply.lines[6:] == (Answering.plugin_control_help[0], "\\x1b[2J")


def test_the_documentation_shows_the_help_as_it_is() -> None:
    page = Path(__file__).parents[3] / "docs" / "nsctl.md"
    lines = [command.help_line() for command in COMMANDS.values()]
    assert BUILT_IN_HELP + "\n".join(lines) + "\n```" in page.read_text()


@pytest.mark.parametrize("offered", [None, 5, "text", b"bytes"])
def test_help_survives_a_plugin_that_offers_nonsense(offered: object) -> None:
    plugin = Answering()
    plugin.plugin_control_help = offered  # type: ignore[assignment]
    assert len(Desk(plugin).ask("", Kind.HELP).lines) == 6


@pytest.mark.parametrize("kind", [Kind.LOAD, Kind.UNLOAD])
@pytest.mark.parametrize("line", ["", "one two"])
def test_load_and_unload_want_one_name(kind: Kind, line: str) -> None:
    assert Desk().ask(line, kind) == Reply.error("name of plugin required")


def test_load_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(Answering())
    assert desk.ask("p0", Kind.LOAD) == Reply.error("plugin already loaded")
    loaded = []

    def load(name: str) -> None:
        if name != "good":
            raise PluginError("no such plugin")
        loaded.append(name)

    monkeypatch.setattr(desk.plugins, "load", load)
    assert desk.ask("bad", Kind.LOAD) == Reply.error("error loading plugin")
    assert desk.ask("good", Kind.LOAD) == OK
    assert loaded == ["good"]


def test_unload_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(Answering())
    assert desk.ask("p0", Kind.UNLOAD) == OK
    assert desk.plugins.loaded() == []
    assert desk.ask("p0", Kind.UNLOAD) == Reply.error("plugin not found")

    class Installed:
        name = "p0"

    monkeypatch.setattr(desk.plugins, "available", lambda: [Installed])
    assert desk.ask("p0", Kind.UNLOAD) == Reply.error("plugin not loaded")


def test_what_is_done_is_logged_but_not_interception(caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk()
    with caplog.at_level(logging.DEBUG, "l2tpns"):
        desk.ask("drop 1 forged\n")
        desk.ask("snoop 1 192.0.2.9 4242")
        desk.ask("unsnoop 1")
    assert [record.getMessage() for record in caplog.records] == [
        "nsctl from 192.0.2.7: drop 1 forged"
    ]
