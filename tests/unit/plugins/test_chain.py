"""The order of a chain, what ends it, and what a failing hook may not do."""

import logging
from collections.abc import Callable
from typing import Any, cast

import pytest

from l2tpns_core.plugins import (
    PLUGIN_RET_ERROR,
    PLUGIN_RET_NOTMASTER,
    PLUGIN_RET_OK,
    PLUGIN_RET_STOP,
    ParamPreAuth,
    ParamRadiusAccount,
    ParamTimer,
    PluginResult,
    hookimpl,
)
from l2tpns_core.plugins.manager import PluginManager
from l2tpns_core.plugins.watch import REPORTS_IN_FULL

TIMER = ParamTimer(time_now=1)


class Recorder:
    """Notes its calls in a list that all plugins share, and answers as told."""

    def __init__(self, name: str, calls: list[str], answer: Callable[[], object]) -> None:
        self._name = name
        self._calls = calls
        self._answer = answer

    @hookimpl
    def timer(self, param: ParamTimer) -> object:
        self._calls.append(self._name)
        return self._answer()


def manager_of(**answers: object) -> tuple[PluginManager, list[str]]:
    """Plugins by name in load order, each with what its timer hook returns."""
    manager, calls = PluginManager(), list[str]()
    for name, answer in answers.items():
        given = cast("Callable[[], object]", answer) if callable(answer) else _returns(answer)
        manager.register(name, Recorder(name, calls, given))
    return manager, calls


def _returns(value: object) -> Callable[[], object]:
    return lambda: value


def fails() -> object:
    raise ValueError("broken on purpose")


def pre_auth() -> ParamPreAuth:
    return ParamPreAuth(
        t=1, s=2, session=cast("Any", None), username="alice", password=b"pw", protocol=0xC023
    )


class SetsFields:
    """A plugin that sets fields of pre_auth, then maybe raises."""

    def __init__(self, fields: dict[str, object], error: Exception | None = None) -> None:
        self._error = error
        self._fields = fields

    @hookimpl
    def pre_auth(self, param: ParamPreAuth) -> None:
        for name, value in self._fields.items():
            setattr(param, name, value)
        if self._error is not None:
            raise self._error


def test_plugins_run_in_the_order_in_which_they_were_loaded() -> None:
    manager, calls = manager_of(zebra=None, ant=None, mole=PLUGIN_RET_OK)
    assert manager.timer(TIMER) is PluginResult.OK
    assert calls == ["zebra", "ant", "mole"]


def test_numbers_of_the_c_api() -> None:
    results = (PLUGIN_RET_ERROR, PLUGIN_RET_OK, PLUGIN_RET_STOP, PLUGIN_RET_NOTMASTER)
    assert [int(result) for result in results] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("answer", "succeeded"),
    [(PLUGIN_RET_STOP, True), (PLUGIN_RET_ERROR, False), (PLUGIN_RET_NOTMASTER, False)],
)
def test_any_result_but_ok_ends_the_chain_and_is_what_it_returns(
    answer: PluginResult, succeeded: bool
) -> None:
    manager, calls = manager_of(a=None, b=answer, c=None)
    result = manager.timer(TIMER)
    assert result is answer
    assert result.succeeded is succeeded
    assert calls == ["a", "b"]


def test_bare_numbers_are_results_too() -> None:
    manager, calls = manager_of(a=1, b=2, c=None)
    assert manager.timer(TIMER) is PluginResult.STOP
    assert calls == ["a", "b"]


@pytest.mark.parametrize("answer", [fails, 4, -1, "OK", [], object()])
def test_a_hook_that_fails_is_passed_over(answer: object, caplog: pytest.LogCaptureFixture) -> None:
    manager, calls = manager_of(a=None, b=answer, c=None)
    assert manager.timer(TIMER) is PluginResult.OK
    assert calls == ["a", "b", "c"]
    _, failed, _ = manager.loaded()
    assert failed.statistics["timer"].errors == 1
    assert "plugin b failed in timer" in caplog.text


def test_a_plugin_cannot_end_the_daemon_by_sys_exit() -> None:
    def leaves() -> object:
        raise SystemExit(3)

    manager, calls = manager_of(a=leaves, b=PLUGIN_RET_STOP)
    assert manager.timer(TIMER) is PluginResult.STOP
    assert calls == ["a", "b"]


def test_keyboard_interrupt_goes_through() -> None:
    def interrupts() -> object:
        raise KeyboardInterrupt

    manager, _ = manager_of(a=interrupts)
    with pytest.raises(KeyboardInterrupt):
        manager.timer(TIMER)


def test_a_hook_that_fails_for_each_packet_does_not_fill_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    manager, _ = manager_of(a=fails)
    for _ in range(200):
        manager.timer(TIMER)
    tracebacks = [record for record in caplog.records if record.exc_info]
    assert len(tracebacks) == REPORTS_IN_FULL
    assert len(caplog.records) == REPORTS_IN_FULL + 1  # the load itself
    assert manager.loaded()[0].statistics["timer"].errors == 200


def test_changes_reach_the_next_plugin_and_the_caller() -> None:
    class Checks:
        seen = ""

        @hookimpl
        def pre_auth(self, param: ParamPreAuth) -> None:
            self.seen = param.username

    manager, checks = PluginManager(), Checks()
    manager.register("sets", SetsFields({"username": "bob", "continue_auth": 0}))
    manager.register("checks", checks)
    param = pre_auth()
    manager.pre_auth(param)
    assert checks.seen == param.username == "bob"
    assert param.continue_auth == 0


@pytest.mark.parametrize(
    "fields", [{"username": b"bob"}, {"password": "text"}, {"continue_auth": None}]
)
def test_a_field_of_the_wrong_type_gets_its_old_value_back(
    fields: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    manager, param = PluginManager(), pre_auth()
    manager.register("a", SetsFields(fields))
    assert manager.pre_auth(param) is PluginResult.OK
    assert param == pre_auth()
    (name,) = fields
    assert f"set {name} to" in caplog.text
    assert manager.loaded()[0].statistics["pre_auth"].errors == 1


def test_what_a_hook_set_before_it_raised_is_undone() -> None:
    manager, param = PluginManager(), pre_auth()
    manager.register("a", SetsFields({"username": "half", "continue_auth": 0}, ValueError("later")))
    manager.pre_auth(param)
    assert param == pre_auth()


def test_radius_account_keeps_what_was_appended() -> None:
    class Appends:
        @hookimpl
        def radius_account(self, param: ParamRadiusAccount) -> None:
            param.packet.append(("Cisco-AVPair", "throttle=yes"))

    manager, packet = PluginManager(), list[tuple[str, object]]()
    manager.register("a", Appends())
    manager.radius_account(ParamRadiusAccount(t=1, s=2, session=cast("Any", None), packet=packet))
    assert packet == [("Cisco-AVPair", "throttle=yes")]


def test_passwords_are_not_in_the_repr_of_an_event() -> None:
    assert "pw" not in repr(pre_auth())


def test_statistics_count_calls_and_time_for_each_plugin_and_event() -> None:
    manager, _ = manager_of(a=None, b=PLUGIN_RET_STOP, c=None)
    for _ in range(3):
        manager.timer(TIMER)
    counted = {p.name: p.statistics["timer"] for p in manager.loaded()}
    assert {name: s.calls for name, s in counted.items()} == {"a": 3, "b": 3, "c": 0}
    assert counted["a"].seconds > 0.0
    assert counted["c"].seconds == 0.0
    assert all(s.errors == 0 for s in counted.values())


def test_a_plugin_that_a_hook_unloads_is_not_called_any_more() -> None:
    manager: PluginManager

    def removes_b() -> object:
        manager.unload("b")
        return None

    manager, calls = manager_of(a=removes_b, b=None, c=None)
    manager.timer(TIMER)
    assert calls == ["a", "c"]


def test_a_plugin_that_a_hook_loads_joins_from_the_next_event_on() -> None:
    manager: PluginManager

    def loads_b() -> object:
        if not any(plugin.name == "b" for plugin in manager.loaded()):
            manager.register("b", Recorder("b", calls, lambda: None))
        return None

    manager, calls = manager_of(a=loads_b)
    manager.timer(TIMER)
    assert calls == ["a"]
    manager.timer(TIMER)
    assert calls == ["a", "a", "b"]


def test_log_of_a_failure_names_plugin_event_and_error(caplog: pytest.LogCaptureFixture) -> None:
    manager, _ = manager_of(garden=fails)
    with caplog.at_level(logging.ERROR):
        manager.timer(TIMER)
    message = caplog.records[-1].getMessage()
    assert message == "plugin garden failed in timer, failure 1: ValueError: broken on purpose"
