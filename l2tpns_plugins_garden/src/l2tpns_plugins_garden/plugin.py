"""The events of the walled garden: who is trapped, where, and for how long."""

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING, Final

from l2tpns_core.plugins import (
    PLUGIN_API_VERSION,
    PLUGIN_RET_ERROR,
    PLUGIN_RET_NOTMASTER,
    PLUGIN_RET_STOP,
    ParamBecomeMaster,
    ParamControl,
    ParamKillSession,
    ParamNewSession,
    ParamNewSessionMaster,
    ParamPostAuth,
    ParamRadiusResponse,
    ParamSettingsChanged,
    PluginResult,
    hookimpl,
)
from l2tpns_plugins_garden.conntrack import Connections
from l2tpns_plugins_garden.filling import Filler
from l2tpns_plugins_garden.firewall import Firewall, GardenError
from l2tpns_plugins_garden.inmate import Inmate, forget, recall, remember
from l2tpns_plugins_garden.netlink import NetfilterError
from l2tpns_plugins_garden.rules import Garden, Layout
from l2tpns_plugins_garden.script import syntax_errors
from l2tpns_plugins_garden.settings import Settings as GardenSettings
from l2tpns_plugins_garden.settings import layout_of
from l2tpns_plugins_garden.worker import Worker

if TYPE_CHECKING:
    from l2tpns_core.plugins import PluginApi
    from l2tpns_core.session import Session

PAIR: Final = "garden"
"""The key of the Cisco-AVPair that chooses a garden."""
REMOVED: Final = "Walled garden is removed"
NO_ANSWER: Final = "no answer in time"
PROVED: Final = "Logged in rightly after a refusal, must dial anew"


class ControlError(Exception):
    """A control command cannot be done; the text is what nsctl prints."""


class GardenPlugin:
    """Lets in who RADIUS refuses, but no farther than the garden."""

    api_version = PLUGIN_API_VERSION
    Settings = GardenSettings
    plugin_control_help = (
        f"{'  garden USER|SID':<46}Put user into the walled garden",
        f"{'  ungarden SID [USER]':<46}Ungarden session and set username",
    )

    def __init__(self, api: "PluginApi") -> None:
        self._api = api
        self._filler = Filler(api, api.settings or GardenSettings())
        self._inmates: dict[int, Inmate] = {}
        self._layout = layout_of(GardenSettings())
        self._worker: Worker | None = None
        self._stop_looking: Callable[[], None] = lambda: None

    # Life

    def plugin_init(self) -> None:
        """Raises GardenError, with nothing left behind, where there can be no garden."""
        self._layout = layout_of(self._filler.settings)
        if self._api.is_master:
            self._begin()
        self._look_regularly()

    def plugin_done(self) -> None:
        """Take the garden away. Nobody gets out of it that way: who was refused is dropped. Where
        sessions outlive the daemon, so does the garden."""
        worker, self._worker = self._worker, None
        self._filler.end()
        if worker is None:
            return
        if self._api.keeps_sessions:
            worker.close()
            return
        addresses = [inmate.ip for inmate in self._inmates.values() if inmate.ip]
        for session in list(self._api.sessions()):
            inmate = self._inmates.pop(session.key, None)
            if inmate is not None and session.walled_garden and not session.is_going:
                self._let_go(session, inmate)
        self._inmates.clear()
        emptied = self._filler.script.is_file()
        try:
            kept = worker.call(lambda: worker.firewall.tear_down(emptied=emptied))
        except TimeoutError:
            self._api.log.error("the garden cannot be taken away: %s", NO_ANSWER)
            worker.abandon()
            return
        except NetfilterError as error:
            self._api.log.error("the garden cannot be taken away: %s", error)
        else:
            if kept:
                self._api.log.warning("left in table nat, being used: %s", ", ".join(kept))
        worker.forget(addresses)
        worker.close()

    def _let_go(self, session: "Session", inmate: Inmate) -> None:
        """The garden is removed from around it."""
        if inmate.was_refused:
            self._api.drop(session, REMOVED)
        elif session.ip:
            self._api.set_garden(session, False)
        else:
            session.walled_garden = False

    @staticmethod
    def check_files(directory: Path, settings: GardenSettings) -> list[str]:
        """What `l2tpns --check` says of build-garden."""
        path = directory / settings.build_garden
        return syntax_errors(path) if path.exists() else []

    @hookimpl
    def settings_changed(self, param: ParamSettingsChanged) -> PluginResult | None:
        """Other gardens, another file, another interval: who is trapped stays trapped."""
        settings, worker = self._api.settings, self._worker
        refill = (self._api.config_directory / settings.build_garden).is_file()
        try:
            layout = layout_of(settings)
            if worker is not None:
                if refill:
                    self._filler.interrupt()
                self._rearrange(worker, settings, layout, refill=refill)
        except (GardenError, NetfilterError, TimeoutError) as error:
            self._api.log.error("the gardens stay as they are: %s", error or NO_ANSWER)
            return PLUGIN_RET_ERROR
        self._take_over(settings, layout, refill=refill)
        return None

    def _rearrange(
        self, worker: Worker, settings: GardenSettings, layout: Layout, *, refill: bool
    ) -> None:
        """Have the kernel rearrange the gardens. What it does too late is taken over then."""
        change = worker.submit(lambda: worker.firewall.rearrange(layout, refill=refill))
        try:
            worker.wait(change)
        except TimeoutError:
            if not change.cancel():
                late = self._take_over_late(change, settings, layout, refill=refill)
                self._api.create_task(late, "late settings")
            raise

    async def _take_over_late(
        self, change: "Future[None]", settings: GardenSettings, layout: Layout, *, refill: bool
    ) -> None:
        try:
            await asyncio.wrap_future(change)
        except (GardenError, NetfilterError) as error:
            self._api.log.error("the gardens stay as they are: %s", error)
            return
        self._api.log.warning("the kernel has taken the new gardens after all")
        self._take_over(settings, layout, refill=refill)

    def _take_over(self, settings: GardenSettings, layout: Layout, *, refill: bool) -> None:
        """The kernel has these gardens: so have we from now on."""
        self._filler.settings, self._layout = settings, layout
        for inmate in self._inmates.values():
            inmate.garden = layout.garden(inmate.garden.name)
        self._stop_looking()
        self._look_regularly()
        if self._worker is not None and refill:
            self._filler.again()

    def _look_regularly(self) -> None:
        interval = self._filler.settings.check_interval
        self._stop_looking = self._api.every(interval, self._filler.look)

    @hookimpl
    def become_master(self, param: ParamBecomeMaster) -> PluginResult | None:
        if self._worker is None:
            try:
                self._begin()
            except GardenError as error:
                self._api.log.error("%s", error)
                return PLUGIN_RET_ERROR
        return None

    @hookimpl
    def new_session_master(self, param: ParamNewSessionMaster) -> None:
        if param.session.walled_garden and param.session.ip:
            self._trap(param.session)

    # Sessions

    @hookimpl
    def post_auth(self, param: ParamPostAuth) -> None:
        """Turn a refusal into a login that is trapped; a reply with garden=no stays a refusal."""
        if self._worker is None:
            return
        session = param.session
        if param.auth_allowed:
            self._proved(session, param.username)
            return
        name = _chosen(param.reply.avpairs)
        if name == "no":
            return
        param.auth_allowed = 1
        if session.walled_garden:
            return
        garden = self._garden_named(name, session)
        self._admit(session, Inmate(garden, was_refused=True, was_accepted=session.is_admitted))
        self._flag(session)

    @hookimpl
    def radius_response(self, param: ParamRadiusResponse) -> None:
        """garden=NAME: RADIUS lets the user in, but into that garden."""
        session, name = param.session, param.value.strip()
        if self._worker is None or param.key.casefold() != PAIR or name == "no":
            return
        garden = self._garden_named(name, session)
        if session.walled_garden and session.key in self._inmates:
            inmate = self._inmates[session.key]
            inmate.garden = garden
            remember(session, self._api.name, inmate)
        else:
            self._admit(session, Inmate(garden))
            self._flag(session)
        if session.network_up_at:
            self._trap(session)

    @hookimpl
    def new_session(self, param: ParamNewSession) -> None:
        if param.session.walled_garden:
            self._trap(param.session)

    @hookimpl
    def kill_session(self, param: ParamKillSession) -> None:
        self._free(param.session)

    # nsctl

    @hookimpl
    def control(self, param: ParamControl) -> PluginResult | None:
        command = {"garden": self._garden, "ungarden": self._ungarden}.get((*param.argv, "")[0])
        if command is None:
            return None
        if not param.iam_master or self._worker is None:
            return PLUGIN_RET_NOTMASTER
        try:
            command(param.argv[1:])
        except ControlError as error:
            param.response = str(error).encode()
            param.send_response = 1
            return PLUGIN_RET_ERROR
        param.send_response = 1
        return PLUGIN_RET_STOP

    def _garden(self, arguments: tuple[str, ...]) -> None:
        """garden USER/SID"""
        if len(arguments) != 1:
            raise ControlError("requires username or session id")
        session = self._session_of(arguments[0])
        if session.walled_garden:
            raise ControlError("already in walled garden")
        self._admit(session, Inmate(self._layout.garden("")))
        self._flag(session)
        self._trap(session)

    def _ungarden(self, arguments: tuple[str, ...]) -> None:
        """ungarden SID [USER]"""
        if len(arguments) not in (1, 2):
            raise ControlError("requires session id and optional username")
        if not _is_id(arguments[0]):
            raise ControlError("session not found")
        session = self._session_of(arguments[0])
        if not session.walled_garden:
            raise ControlError("not in walled garden")
        self._release(session, (*arguments, "")[1])

    def _session_of(self, text: str) -> "Session":
        """The session of that id (`5` or `3/5`) or, when it is no id, of that user, if it has an
        address and is not about to end."""
        found = self._sessions_by_id(text) if _is_id(text) else self._api.sessions_by_user(text)
        for session in found:
            if session.ip and session.ending is None:
                return session
        raise ControlError("session not found")

    def _sessions_by_id(self, text: str) -> "list[Session]":
        try:
            return [self._api.find_session(text)]
        except LookupError:
            return []

    # What happens to a session

    def _admit(self, session: "Session", inmate: Inmate) -> None:
        self._inmates[session.key] = inmate
        remember(session, self._api.name, inmate)

    def _recall(self, firewall: Firewall) -> None:
        """Whom another daemon has trapped is in the sets from the start."""
        for session in self._api.sessions():
            inmate = recall(session, self._api.name, self._layout)
            if inmate is not None and session.walled_garden and session.ip:
                self._inmates[session.key] = inmate
                firewall.members[session.ip] = inmate.garden

    def _flag(self, session: "Session") -> None:
        """Mark a session as trapped, whether it is known to accounting already or not."""
        if session.ip:
            self._api.set_garden(session, True)
        else:
            session.walled_garden = True

    def _trap(self, session: "Session") -> None:
        """Put the session's address into the set."""
        if self._worker is None:
            return
        if session.key not in self._inmates:
            self._admit(session, Inmate(self._layout.garden("")))
        inmate = self._inmates[session.key]
        inmate.ip = session.ip
        self._worker.change(session.ip, inmate.garden)
        self._api.log.warning(
            "garden user %s (%s)%s",
            session.user,
            IPv4Address(session.ip),
            f" in {inmate.garden.name}" if inmate.garden.name else "",
            extra=session.log_ids(),
        )

    def _free(self, session: "Session") -> None:
        """Take the session's address out of the set."""
        inmate = self._inmates.pop(session.key, None)
        forget(session, self._api.name)
        if inmate is not None and inmate.ip and self._worker is not None:
            self._worker.change(inmate.ip, None)

    def _release(self, session: "Session", user: str) -> None:
        """Make a trapped session a normal one."""
        self._free(session)
        self._api.set_garden(session, False, user=user or None)
        self._api.log.warning(
            "ungarden user %s (%s)",
            session.user,
            IPv4Address(session.ip),
            extra=session.log_ids(),
        )

    def _proved(self, session: "Session", user: str) -> None:
        """A session that was refused has now logged in rightly on the same link. It is free if
        RADIUS had let it in before that. If not, nothing of what RADIUS says about its user has
        been applied, and that is only done for a new session."""
        inmate = self._inmates.get(session.key)
        if inmate is None or not inmate.was_refused:
            return
        if not session.is_admitted:
            del self._inmates[session.key]
            forget(session, self._api.name)
            session.walled_garden = False
        elif user.casefold() != session.user.casefold():
            return  # which the LNS does not allow
        elif inmate.was_accepted and session.ip:
            self._release(session, "")
        else:
            self._api.drop(session, PROVED)

    def _garden_named(self, name: str, session: "Session") -> Garden:
        name = "" if name == "yes" else name
        garden = self._layout.garden(name)
        if garden.name != name:
            self._api.log.error(
                "RADIUS chose the garden %r, which plugins.toml does not have: using the one "
                "without a name",
                name,
                extra=session.log_ids(),
            )
        return garden

    def _begin(self) -> None:
        """Set up the rules and trap who has to be. Raises GardenError."""
        log = self._api.log
        firewall = Firewall(self._layout, report=log.error)
        worker = Worker(firewall, Connections(report=log.error), log)
        refill = self._filler.script.is_file()
        self._recall(firewall)
        try:
            worker.call(lambda: firewall.set_up(refill=refill))
        except TimeoutError as error:
            worker.abandon()
            raise GardenError("netfilter does not answer: another program holds it") from error
        except BaseException:
            worker.close()
            raise
        self._worker = worker
        for session in list(self._api.sessions()):
            if session.walled_garden and session.ip and session.key not in self._inmates:
                self._trap(session)
        self._filler.begin(worker, refill=refill)


def _chosen(pairs: Iterable[tuple[str, str]]) -> str:
    """The garden that RADIUS names in a reply; "" when it names none."""
    return next((value.strip() for key, value in pairs if key.casefold() == PAIR), "")


def _is_id(text: str) -> bool:
    tunnel, slash, session = text.rpartition("/")
    return session.isascii() and session.isdigit() and (tunnel.isdigit() if slash else True)
