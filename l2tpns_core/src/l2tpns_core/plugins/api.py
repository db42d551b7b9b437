"""What a plugin acts with: one PluginApi for each, handed to its class when it is loaded.

It is the whole of what the core promises to plugins beside the events: what is not in here may
change without notice. PLUGIN_API_VERSION counts the changes that break plugins.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator, Mapping, MutableMapping
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from l2tpns_core.plugins.hookspecs import PLUGIN_API_VERSION
from l2tpns_core.plugins.scope import PluginScope

if TYPE_CHECKING:
    from l2tpns_core.dataplane.plane import SessionCounters
    from l2tpns_core.radius.model import AccessReply
    from l2tpns_core.session import Session

KEEP_RATE: Final = -1
"""As a rate of throttle(): leave that direction as it is."""

ConfigValue = int | bool | str | IPv4Address
Result = TypeVar("Result")


class Core(Protocol):
    """What stands behind the API: the LNS (lns.server.Lns)."""

    @property
    def is_master(self) -> bool: ...
    @property
    def sessions(self) -> Mapping[int, "Session"]: ...
    @property
    def keeps_sessions(self) -> bool: ...
    @property
    def config(self) -> object:
        """The directives in force as attributes."""

    @property
    def clock(self) -> Callable[[], float]: ...
    def session_by_id(self, session_id: int) -> "Session | None": ...
    def sessions_of_user(self, user: str) -> "list[Session]": ...
    def session_by_ip(self, ip: int) -> "Session | None": ...
    def find_session(self, text: str) -> "Session": ...
    def usage(self, session: "Session") -> "SessionCounters": ...
    def drop_session(self, session: "Session", reason: str) -> None: ...
    def kill_session(self, session: "Session", reason: str) -> None: ...
    def throttle(self, session: "Session", rate_in: int, rate_out: int) -> None: ...
    def snoop(self, session: "Session", ip: int, port: int) -> None: ...
    def session_changed(self, session: "Session") -> None: ...
    def set_garden(self, session: "Session", trapped: bool, user: str | None = None) -> None: ...
    def ask_radius(
        self,
        session: "Session",
        user: str,
        password: str,
        done: Callable[["AccessReply"], None],
    ) -> int: ...
    def cancel_radius(self, handle: int) -> None: ...


class PluginLog(logging.LoggerAdapter[logging.Logger]):
    """Puts the plugin's name before each line, and keeps `extra` as it is."""

    def __init__(self, name: str) -> None:
        super().__init__(logging.getLogger(f"l2tpns.plugin.{name}"), {})
        self._name = name

    def process(
        self, msg: Any, kwargs: MutableMapping[str, Any]
    ) -> tuple[Any, MutableMapping[str, Any]]:
        """Called by logging for each line."""
        return f"{self._name}: {msg}", kwargs


class PluginApi:
    """What one plugin may do. IPv4 addresses are integers in host order, rates kbit/s.

    Every method may be called from a hook, from plugin_init() and from tasks, always in the
    daemon's thread. A session that has ended is left alone by all of them.
    """

    version: Final = PLUGIN_API_VERSION

    def __init__(
        self,
        name: str,
        core: Core,
        scope: PluginScope,
        config_directory: Path,
        settings: Any = None,
    ) -> None:
        self.name: Final = name
        """The name that `load plugin` was given."""
        self.log: Final = PluginLog(name)
        """For lines that carry the plugin's name. `extra=session.log_ids()` adds the session."""
        self.settings: Any = settings
        """An instance of the plugin's class `Settings`, as plugins.toml has it; None when the
        plugin declares none. Replaced, not changed, when the file was read again."""
        self.config_directory: Final = config_directory
        """Where the startup-config is, and whatever else the operator keeps beside it."""
        self.scope: Final = scope
        self._core = core

    # Looking

    @property
    def is_master(self) -> bool:
        """Whether this node decides: the master of its cluster, or alone."""
        return self._core.is_master

    @property
    def keeps_sessions(self) -> bool:
        """Whether the sessions outlive the daemon, which is about to stop (save_state): then
        plugin_done() leaves what holds for them as it is."""
        return self._core.keeps_sessions

    def now(self) -> float:
        """Seconds of the clock by which the daemon's timers go, and every `*_at` of a session. In
        a test it is the virtual one."""
        return self._core.clock()

    def config(self, name: str) -> ConfigValue:
        """The value of a directive that is in force. Raises KeyError."""
        try:
            value: ConfigValue = getattr(self._core.config, name)
        except AttributeError:
            raise KeyError(name) from None
        return value

    def sessions(self) -> "Iterator[Session]":
        """All live sessions in order of their creation. To end or to change some of them while
        going through, make a list of it first."""
        return iter(self._core.sessions.values())

    def session_by_id(self, sid: int) -> "Session | None":
        """The session with that session id of ours; it is unique over all tunnels."""
        return self._core.session_by_id(sid)

    def sessions_by_user(self, user: str) -> "list[Session]":
        """The sessions of a user, oldest first, whatever the case of its letters. Sessions in the
        walled garden are nobody's."""
        return self._core.sessions_of_user(user)

    def session_by_ip(self, ip: int) -> "Session | None":
        """The session that has an address."""
        return self._core.session_by_ip(ip)

    def find_session(self, text: str) -> "Session":
        """The session that an operator means by `5` or `3/5`. Raises LookupError with the sentence
        to print."""
        return self._core.find_session(text)

    def usage(self, session: "Session") -> "SessionCounters":
        """The traffic of a session so far."""
        return self._core.usage(session)

    # Acting

    def drop(self, session: "Session", reason: str) -> None:
        """Disconnect a session properly: LCP Terminate to the client, then CDN, then the Stop."""
        self._core.drop_session(session, reason)

    def kill(self, session: "Session", reason: str) -> None:
        """End a session at once, without waiting for its client."""
        self._core.kill_session(session, reason)

    def throttle(self, session: "Session", rate_in: int, rate_out: int) -> None:
        """Limit what the subscriber sends (in) and receives (out); 0 lifts a limit, -1 leaves it
        as it is. Raises ValueError for what is no rate."""
        self._core.throttle(session, rate_in, rate_out)

    def snoop(self, session: "Session", ip: int, port: int) -> None:
        """Send a copy of each packet of a session to a UDP port; address 0 ends it. Raises
        ValueError for what is no address or port."""
        self._core.snoop(session, ip, port)

    def session_changed(self, session: "Session") -> None:
        """Have the data plane follow what was changed on a session that is up."""
        self._core.session_changed(session)

    def set_garden(self, session: "Session", trapped: bool, *, user: str | None = None) -> None:
        """Mark a session as trapped in the walled garden, which ends its accounting, or make it a
        normal one with an accounting of its own, named `user` if that is given. What holds its
        packets back is the plugin's business."""
        self._core.set_garden(session, trapped, user)

    def authenticate(
        self,
        session: "Session",
        user: str,
        password: str,
        answered: "Callable[[AccessReply], object]",
    ) -> None:
        """Send an Access-Request (PAP) about a session. `answered` is called once with the reply,
        also when no server answers, but not after the plugin was unloaded. Raises RuntimeError
        after the unload."""
        self.scope.require_open()
        handle = 0

        def done(reply: "AccessReply") -> None:
            if self.scope.disown(handle):
                self.scope.call(answered, reply)

        handle = self._core.ask_radius(session, user, password, done)
        self.scope.own(handle, lambda: self._core.cancel_radius(handle))

    # Running beside the hooks

    def create_task(
        self, coroutine: Coroutine[Any, Any, Result], name: str = ""
    ) -> asyncio.Task[Result]:
        """Start an asyncio task on the daemon's loop. It is cancelled when the plugin is unloaded;
        if it raises, that is logged and counted. Raises RuntimeError after the unload."""
        return self.scope.create_task(coroutine, name)

    def every(self, seconds: float, function: Callable[[], object]) -> Callable[[], None]:
        """Call a function again and again until the plugin is unloaded, the first time after that
        many seconds. Calling what is returned ends it earlier."""
        return self.scope.every(seconds, function)
