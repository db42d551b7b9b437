"""Loading, unloading and refusing plugins that are objects at hand."""

import inspect
from typing import Any, cast, get_args

import pytest

from l2tpns_core.plugins import (
    PLUGIN_RET_ERROR,
    Hooks,
    ParamNewSession,
    ParamTimer,
    PluginResult,
    hookimpl,
)
from l2tpns_core.plugins.discovery import PluginError
from l2tpns_core.plugins.hookspecs import EVENTS
from l2tpns_core.plugins.manager import EventName, PluginManager

TIMER = ParamTimer(time_now=1)
OF_ONE_PLUGIN = {"settings_changed"}
"""Events that are no chain: take_settings() raises them for the plugin that they concern."""


class Counts:
    """Counts its timer calls and its life."""

    def __init__(self) -> None:
        self.ticks = self.inits = self.dones = 0

    def plugin_init(self) -> None:
        self.inits += 1

    def plugin_done(self) -> None:
        self.dones += 1

    @hookimpl
    def timer(self, param: ParamTimer) -> None:
        self.ticks += 1


class WrongArgument:
    @hookimpl
    def timer(self, data: ParamTimer) -> None:
        """The argument has another name than the event's."""


class Misspelt:
    @hookimpl
    def new_sesion(self, param: ParamNewSession) -> None:
        """There is no such event."""


class Unmarked:
    def timer(self, param: ParamTimer) -> None:
        """Named like an event, but not marked as a hook."""


class FirstOfAll:
    @hookimpl(tryfirst=True)
    def timer(self, param: ParamTimer) -> None:
        """Wants to jump the queue."""


class LastOfAll:
    @hookimpl(trylast=True)
    def timer(self, param: ParamTimer) -> None:
        """Wants to wait for the others."""


class Wrapper:
    @hookimpl(wrapper=True)
    def timer(self, param: ParamTimer) -> Any:
        return (yield)


class OldWrapper:
    @hookimpl(hookwrapper=True)
    def timer(self, param: ParamTimer) -> Any:
        yield


class Coroutine:
    @hookimpl
    async def timer(self, param: ParamTimer) -> None:
        """Would never be awaited."""


class RenamedCoroutine:
    @hookimpl(specname="timer")
    async def tick(self, param: ParamTimer) -> None:
        """Would never be awaited."""


class CoroutineInit:
    async def plugin_init(self) -> None:
        """Would never be awaited."""


class InitRaises:
    def plugin_init(self) -> None:
        raise OSError("no such\nfile")


class InitReturnsFalse:
    def plugin_init(self) -> bool:
        return False


class InitReturnsError:
    def plugin_init(self) -> PluginResult:
        return PLUGIN_RET_ERROR


REFUSED = [
    (WrongArgument, "takes one argument, param"),
    (Misspelt, 'did you mean "new_session"?'),
    (Unmarked, "mark it with @hookimpl"),
    (FirstOfAll, "must not be a wrapper, tryfirst or trylast"),
    (LastOfAll, "must not be a wrapper, tryfirst or trylast"),
    (Wrapper, "must be a plain function"),
    (OldWrapper, "must be a plain function"),
    (Coroutine, "must be a plain function"),
    (RenamedCoroutine, "must be a plain function"),
    (CoroutineInit, "must be a plain function"),
    (InitRaises, "plugin_init raised OSError: no such file"),
    (InitReturnsFalse, "refused to start"),
    (InitReturnsError, "refused to start"),
]


@pytest.mark.parametrize(("factory", "explanation"), REFUSED)
def test_a_faulty_plugin_is_refused_in_one_line_and_changes_nothing(
    factory: type, explanation: str
) -> None:
    manager, good = PluginManager(), Counts()
    manager.register("good", good)
    with pytest.raises(PluginError) as refusal:
        manager.register("bad", factory())
    message = str(refusal.value)
    assert explanation in message
    assert '"bad"' in message
    assert "\n" not in message
    assert [plugin.name for plugin in manager.loaded()] == ["good"]
    manager.timer(TIMER)
    assert good.ticks == 1


@pytest.mark.parametrize("fault", [WrongArgument, Misspelt, Unmarked, FirstOfAll])
def test_a_plugin_that_is_refused_for_its_hooks_is_never_started(fault: type) -> None:
    started: list[bool] = []

    class Faulty(fault):  # type: ignore[misc]
        def plugin_init(self) -> None:
            started.append(True)

    with pytest.raises(PluginError):
        PluginManager().register("bad", Faulty())
    assert started == []


def test_a_wrapper_that_is_no_generator_is_refused_too() -> None:
    class Plain:
        @hookimpl(hookwrapper=True)
        def timer(self, param: ParamTimer) -> None:
            """Marked as a wrapper, but does not yield."""

    with pytest.raises(PluginError):
        PluginManager().register("bad", Plain())


def test_there_is_a_typed_method_for_each_event() -> None:
    methods = dict(inspect.getmembers(PluginManager, inspect.isfunction))
    for event, param_class in EVENTS.items():
        if event in OF_ONE_PLUGIN:
            continue
        annotations = inspect.get_annotations(methods[event])
        assert annotations == {"param": param_class, "return": PluginResult}
    assert set(get_args(EventName)) == set(EVENTS)


def test_every_method_runs_its_own_event() -> None:
    class Everything:
        def __init__(self) -> None:
            self.heard: list[tuple[str, object]] = []

    def hook_for(event: str) -> object:
        def hook(self: Everything, param: object) -> None:
            self.heard.append((event, param))

        hook.__name__ = event
        return hookimpl(hook)

    for event in EVENTS:
        setattr(Everything, event, hook_for(event))
    manager, plugin = PluginManager(), Everything()
    manager.register("all", plugin)
    for event, param_class in EVENTS.items():
        if event in OF_ONE_PLUGIN:
            continue
        fields = dict.fromkeys(inspect.signature(param_class).parameters)
        fields |= {name: kind() for name, kind in param_class.CHANGEABLE.items()}
        param = param_class(**fields)
        assert getattr(manager, event)(param) is PluginResult.OK
        assert plugin.heard.pop() == (event, param)
    assert not plugin.heard


def test_without_a_listener_an_event_succeeds() -> None:
    manager = PluginManager()
    assert manager.timer(TIMER) is PluginResult.OK
    assert not manager.listens("timer")


def test_listens_follows_loading_and_unloading() -> None:
    manager = PluginManager()
    manager.register("a", Counts())
    manager.register("b", Counts())
    assert manager.listens("timer")
    assert not manager.listens("packet_rx")
    manager.unload("a")
    assert manager.listens("timer")
    manager.unload("b")
    assert not manager.listens("timer")


def test_init_and_done_run_once_each() -> None:
    manager, plugin = PluginManager(), Counts()
    manager.register("a", plugin)
    manager.register("b", Counts())
    assert (plugin.inits, plugin.dones) == (1, 0)
    manager.unload("a")
    manager.timer(TIMER)
    assert (plugin.inits, plugin.dones, plugin.ticks) == (1, 1, 0)


def test_close_unloads_all_and_the_last_loaded_first() -> None:
    order: list[str] = []

    class Leaves:
        def __init__(self, name: str) -> None:
            self._name = name

        def plugin_done(self) -> None:
            order.append(self._name)

    manager = PluginManager()
    for name in "abc":
        manager.register(name, Leaves(name))
    manager.close()
    assert order == ["c", "b", "a"]
    assert not manager.loaded()


def test_a_failing_plugin_done_does_not_keep_a_plugin_loaded(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Sticks:
        def plugin_done(self) -> None:
            raise RuntimeError("not now")

    manager = PluginManager()
    manager.register("a", Sticks())
    manager.unload("a")
    assert not manager.loaded()
    assert "plugin a failed in plugin_done" in caplog.text


def test_a_plugin_that_is_loaded_again_goes_to_the_end_and_starts_from_zero() -> None:
    manager, first = PluginManager(), Counts()
    manager.register("a", first)
    manager.register("b", Counts())
    manager.timer(TIMER)
    manager.unload("a")
    manager.register("a", Counts())
    assert [plugin.name for plugin in manager.loaded()] == ["b", "a"]
    assert manager.loaded()[1].statistics["timer"].calls == 0


def test_statistics_go_on_when_other_plugins_come_and_go() -> None:
    manager = PluginManager()
    manager.register("a", Counts())
    manager.timer(TIMER)
    manager.register("b", Counts())
    manager.timer(TIMER)
    manager.unload("b")
    assert manager.loaded()[0].statistics["timer"].calls == 2


def test_loading_twice_and_unloading_what_is_not_loaded_are_explained() -> None:
    manager = PluginManager()
    manager.register("a", Counts())
    with pytest.raises(PluginError, match="loaded already: remove it first"):
        manager.register("a", Counts())
    with pytest.raises(PluginError, match=r'"b" is not loaded \(loaded: a\)'):
        manager.unload("b")


def test_a_plugin_may_load_another_from_its_init() -> None:
    manager, helper = PluginManager(), Counts()

    class Brings:
        def plugin_init(self) -> None:
            manager.register("helper", helper)

    manager.register("brings", Brings())
    assert [plugin.name for plugin in manager.loaded()] == ["helper", "brings"]
    manager.timer(TIMER)
    assert helper.ticks == 1


def test_on_change_is_called_after_each_load_and_unload() -> None:
    manager, seen = PluginManager(), list[int]()
    manager.on_change = lambda: seen.append(len(manager.loaded()))
    manager.register("a", Counts())
    manager.unload("a")
    assert seen == [1, 0]
    with pytest.raises(PluginError):
        manager.register("bad", Misspelt())
    assert seen == [1, 0]


def test_an_optional_hook_may_be_of_a_later_release() -> None:
    class Modern:
        @hookimpl(optionalhook=True)
        def session_moved(self, param: object) -> None:
            """Not an event of this release."""

    manager = PluginManager()
    manager.register("a", Modern())
    assert [plugin.name for plugin in manager.loaded()] == ["a"]


def test_a_hook_may_leave_the_argument_out() -> None:
    class Short:
        ticks = 0

        @hookimpl
        def timer(self) -> None:
            self.ticks += 1

    manager, plugin = PluginManager(), Short()
    manager.register("a", plugin)
    manager.timer(TIMER)
    assert plugin.ticks == 1


def test_an_argument_with_a_default_is_given_the_event() -> None:
    class Defaulting:
        seen: object = None

        @hookimpl
        def timer(self, param: ParamTimer | None = None) -> None:
            self.seen = param

    manager, plugin = PluginManager(), Defaulting()
    manager.register("a", plugin)
    manager.timer(TIMER)
    assert plugin.seen is TIMER


def test_a_plugin_may_derive_from_the_specification() -> None:
    class Derived(Hooks):
        ids: tuple[int, int] = (0, 0)

        @hookimpl
        def new_session(self, param: ParamNewSession) -> None:
            self.ids = (param.t, param.s)

    manager, plugin = PluginManager(), Derived()
    manager.register("a", plugin)
    assert manager.listens("new_session")
    assert not manager.listens("timer")
    manager.new_session(ParamNewSession(t=3, s=5, session=cast("Any", None)))
    assert plugin.ids == (3, 5)
