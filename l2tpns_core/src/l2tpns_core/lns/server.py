"""The LNS itself: joins L2TP, PPP, RADIUS, the address pool, the plugins and the data plane.

It owns no socket and no task. The data plane and RADIUS call it, it is told the time, and what it
wants sent it hands to the plane. What a call changes is noted and carried out once at its end (see
lns.pump), so that no handler runs inside another.
"""

import itertools
import logging
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from ipaddress import IPv4Address

from l2tpns_core.access_lists.lists import AccessLists
from l2tpns_core.addresses import AddressPool
from l2tpns_core.config.directives import Config
from l2tpns_core.dataplane.plane import (
    DataPlane,
    Peer,
    SessionCounters,
    SessionRoute,
    ThrottleState,
)
from l2tpns_core.l2tp.codes import StopResult
from l2tpns_core.l2tp.endpoint import Endpoint
from l2tpns_core.l2tp.tunnel import Tunnel
from l2tpns_core.life import Step
from l2tpns_core.lns import garden
from l2tpns_core.lns.accounting import Accounting, identity_of
from l2tpns_core.lns.backlog import Backlog
from l2tpns_core.lns.cleanup import Cleanup
from l2tpns_core.lns.filters import is_filtered_by
from l2tpns_core.lns.limits import Limits
from l2tpns_core.lns.lives import Lives
from l2tpns_core.lns.login import Login
from l2tpns_core.lns.pump import Pump
from l2tpns_core.lns.settings import settings_from
from l2tpns_core.lns.state import Keepers, KernelRoutes, LnsCounters, TunnelEntry
from l2tpns_core.lns.tables import SessionTable
from l2tpns_core.lns.usage import UsageReport
from l2tpns_core.plugins.events import ParamKillSession, ParamPacketRx, ParamPacketTx
from l2tpns_core.plugins.manager import PluginManager
from l2tpns_core.ppp.automaton import State
from l2tpns_core.ppp.link import Link
from l2tpns_core.radius.model import AccessReply, AccessRequest, Authenticator, PapCredentials
from l2tpns_core.session import Ending, Session, SessionState, TerminateCause, session_key
from l2tpns_core.timers import Timer, TimerQueue

log = logging.getLogger("l2tpns.lns")

TIMERS_AT_ONCE = 256
"""Timers that fire before the loop is free again."""
TUNNEL_DRAIN_S = 10.0
"""How long `drop tunnel` waits for its sessions before the StopCCN (manual, "drop tunnel")."""
NO_PREFIX = b"\xff\x03\x00\x21"
IP_AND_TCP_HEADERS = 40
MAX_RATE = 10_000_000
"""kbit/s, as for throttle_speed."""
MAX_ADDRESS = 0xFFFFFFFF
MAX_PORT = 65_535

FAILED = Ending("Internal error", TerminateCause.NAS_ERROR)


class Lns:
    """One LNS. See the module for how it is driven; `sessions` is keyed by session_key()."""

    def __init__(
        self,
        config: Config,
        *,
        plane: DataPlane,
        radius: Authenticator,
        pool: AddressPool,
        plugins: PluginManager,
        routes: KernelRoutes,
        clock: Callable[[], float],
        wall: Callable[[], float],
        random: Callable[[int], bytes],
    ) -> None:
        self.config = config
        self.settings = settings_from(config)
        self.plane = plane
        self.radius = radius
        self.pool = pool
        self.plugins = plugins
        self.routes = routes
        self.clock = clock
        self.wall = wall
        self.random = random
        self.counters = LnsCounters()
        self.ends: Counter[TerminateCause] = Counter()
        """Sessions that ended, by why."""
        self.lives = Lives(wall)
        self.access_lists = AccessLists()
        self.access_lists.in_use = partial(is_filtered_by, self)
        self.keeper = Keepers()
        self.is_master = True
        """Whether this node decides. Alone, it is a cluster of one."""
        self.keeps_sessions = False
        """Sessions go on in another process, so that their end here is none."""
        self.on_rest: Callable[[], None] | None = None
        """Told that nothing is left, after shut_down()."""
        self._begin()

    def _begin(self) -> None:
        """Have no tunnel and no session."""
        self.endpoint = Endpoint(self.settings.endpoint, self.random)
        self.timers = TimerQueue()
        self.tables = SessionTable()
        self.sessions = self.tables.by_key
        self.accounting = Accounting(self.radius, self.plugins, self.clock, self.wall, self.keeper)
        self.accounting.enabled = self.config.radius_accounting
        self.login = Login(self)
        self.limits = Limits(self)
        self.cleanup = Cleanup(self)
        self.usage_report = UsageReport(self)
        self.usage_report.configure(self.clock())
        self._pump = Pump(self)
        self._unique = 0
        self._tunnels: dict[int, TunnelEntry] = {}
        self._doomed = Backlog(self.timers, self._execute)
        self._stale = Backlog(self.timers, self._reinstall)
        self._stranded = Backlog(self.timers, self._route_if_uncovered)
        self._remembering = Backlog(self.timers, _forget_plugin_data)

    def begin_anew(self) -> None:
        """Forget every tunnel and session without a word to anybody: another node of the cluster
        goes on with them. Nothing is told to keepers, the plane or RADIUS, and what these still
        have to say about former sessions is not heard."""
        for session in self.sessions.values():
            self.login.abandon(session)
            session.state, session.link = SessionState.ENDED, None
        wake, report = self.timers.on_earlier, self.usage_report.on_report
        counters = self.endpoint.counters, self.accounting.counters
        self.pool = self.pool.emptied()
        self._begin()
        self.timers.on_earlier, self.usage_report.on_report = wake, report
        self.endpoint.take_counters(counters[0])
        self.accounting.counters = counters[1]

    # What the data plane reports (dataplane.plane.PlaneEvents)

    def control_received(self, datagram: bytes, peer: Peer, local: str, now: float) -> None:
        """An L2TP control datagram."""
        tunnel = self.endpoint.receive(datagram, peer, local, now)
        if tunnel is not None:
            self._pump.touch_tunnel(self._entry_of(tunnel))
        for touched in self.endpoint.take_touched():
            self._pump.touch_tunnel(self._entry_of(touched))
        replies = self.endpoint.take_replies()
        if replies:
            self.plane.send_control(replies)
        self._pump.flush(now)

    def frame_received(self, key: int, frame: bytes, now: float) -> None:
        """A PPP frame of a session that the plane does not forward itself."""
        session = self.sessions.get(key)
        if session is None or session.link is None:
            return
        session.link.receive(frame, now)
        self.touch(session)
        self._pump.flush(now)

    def unknown_session(self, tunnel_id: int, session_id: int, peer: Peer, now: float) -> None:
        """A data message for a session that does not exist: dropped, as RFC 2661 has no answer."""
        self.counters.unknown_session += 1
        log.debug("no session %d/%d, data from %s dropped", tunnel_id, session_id, peer[0])

    # Timers

    def handle_timers(self, now: float) -> None:
        """Do what is due, or a part of it; the daemon calls it at timers.next_deadline()."""
        self.timers.expire(now, TIMERS_AT_ONCE)
        self._pump.flush(now)

    # What operators, plugins and the control protocols ask for

    def usage(self, session: Session) -> SessionCounters:
        """The traffic of a session so far, or in all when it has ended."""
        if session.final_usage is not None:
            return session.final_usage
        return garden.counted(session, self.plane.counters(session.key))

    def throttle_state(self, session: Session) -> ThrottleState | None:
        """How the limits of a session fare, None when nothing limits it."""
        return self.plane.throttle_state(session.key)

    def sessions_of_user(self, user: str) -> list[Session]:
        return self.tables.of_user(user)

    def session_by_id(self, session_id: int) -> Session | None:
        return self.tables.by_id(session_id)

    def session_by_ip(self, ip: int) -> Session | None:
        return self.tables.by_ip(ip)

    def find_session(self, text: str) -> Session:
        """The session named `5` or `3/5`; raises LookupError with the sentence to print."""
        return self.tables.find(text)

    def drop_session(
        self, session: Session, reason: str, cause: TerminateCause = TerminateCause.ADMIN_RESET
    ) -> None:
        """Disconnect one session cleanly: LCP Terminate to the client, then CDN, then the Stop."""
        now = self.clock()
        self.close(session, Ending(reason, cause), now)
        self._pump.flush(now)

    def kill_session(self, session: Session, reason: str) -> None:
        """End one session at once: the client is told, but not waited for; then CDN and Stop."""
        now = self.clock()
        self.end_now(session, Ending(reason, TerminateCause.ADMIN_RESET), now)
        self._pump.flush(now)

    def throttle(self, session: Session, rate_in: int, rate_out: int) -> None:
        """Limit what a session sends (in) and receives (out), in kbit/s; 0 lifts a limit, -1
        leaves it as it is. Raises ValueError for what is no rate."""
        for rate in (rate_in, rate_out):
            if not isinstance(rate, int) or not -1 <= rate <= MAX_RATE:
                raise ValueError(f"{rate} is not a rate from 0 to {MAX_RATE}, or -1")
        session.throttle_in = rate_in if rate_in >= 0 else session.throttle_in
        session.throttle_out = rate_out if rate_out >= 0 else session.throttle_out
        self.lives.note(session, Step.THROTTLED, f"{session.throttle_in} {session.throttle_out}")
        self.session_changed(session)

    def snoop(self, session: Session, ip: int, port: int) -> None:
        """Send a copy of each of a session's packets to a UDP port; address 0 ends it. Raises
        ValueError for what is no address or port."""
        is_address = isinstance(ip, int) and 0 <= ip <= MAX_ADDRESS
        if not is_address or (ip and not (isinstance(port, int) and 0 < port <= MAX_PORT)):
            raise ValueError(f"cannot send copies to address {ip} port {port}")
        session.snoop_ip, session.snoop_port = (ip, port) if ip else (0, 0)
        self.session_changed(session)

    def filter(self, session: Session, filter_in: str, filter_out: str) -> None:
        """Have access lists decide what a session may send (in) and receive (out); "" for no
        list. Raises ValueError for a list that is not defined."""
        for name in (filter_in, filter_out):
            if name and self.access_lists.get(name) is None:
                raise ValueError(f"access-list {name!a} is not defined")
        session.filter_in, session.filter_out = filter_in, filter_out
        self.session_changed(session)

    def session_changed(self, session: Session) -> None:
        """Have the plane follow what was changed on a session. Before it has a link and after it
        ended there is nothing to follow: it is told when there is."""
        if session.link is not None and session.state is not SessionState.ENDED:
            self.install(session)
            self.keeper.commit()

    def ask_radius(
        self, session: Session, user: str, password: str, done: Callable[[AccessReply], None]
    ) -> int:
        """Send an Access-Request about a session that is not its login; return a handle for
        cancel_radius()."""
        identity = identity_of(session)
        identity.user = user
        credentials = PapCredentials(password.encode("utf-8", "surrogateescape"))
        name = user.encode("utf-8", "surrogateescape")
        return self.radius.authenticate(AccessRequest(identity, name, credentials), done)

    def cancel_radius(self, handle: int) -> None:
        self.radius.cancel(handle)

    def forget_plugin(self, name: str) -> None:
        """Drop what a plugin that was unloaded has left on sessions."""
        left = [
            (session, name, session.plugin_data[name])
            for session in self.sessions.values()
            if session.plugin_data and name in session.plugin_data
        ]
        self._remembering.add(left, self.clock())

    def set_garden(self, session: Session, trapped: bool, user: str | None = None) -> None:
        """Put a session into the walled garden, or make it a normal one under a name that may be
        another (see lns.garden). What traps its packets is not done here."""
        garden.set_garden(self, session, trapped, user)

    def drop_tunnel(self, tunnel: Tunnel, reason: str) -> None:
        """Disconnect every session of a tunnel, then the tunnel (manual, "drop tunnel")."""
        now = self.clock()
        ending = Ending(reason, TerminateCause.ADMIN_RESET)
        self._drain(self._entry_of(tunnel), ending, StopResult.GENERAL_REQUEST, now)
        self._pump.flush(now)

    def shut_down(self, reason: str) -> None:
        """Refuse new calls and end everything, in slices; done when `at_rest`."""
        now = self.clock()
        self.endpoint.accepting = False
        ending = Ending(reason, TerminateCause.ADMIN_REBOOT)
        for entry in list(self._tunnels.values()):
            self._drain(entry, ending, StopResult.SHUTTING_DOWN, now)
        self._pump.flush(now)

    def end_unfinished(self, reason: str) -> None:
        """End at once every session that is not up: nobody else can go on with it."""
        now = self.clock()
        ending = Ending(reason, TerminateCause.NAS_REBOOT)
        for session in list(self.sessions.values()):
            if not session.network_up or session.state is not SessionState.NETWORK:
                self.end_now(session, ending, now)
        self._pump.flush(now)

    def cut_off(self, reason: str, limit: int) -> int:
        """End up to `limit` sessions without waiting for their clients or LACs; return how many
        are left."""
        now = self.clock()
        ending = Ending(reason, TerminateCause.ADMIN_REBOOT)
        for session in list(itertools.islice(self.sessions.values(), limit)):
            self.end_now(session, ending, now)
        self._pump.flush(now)
        return len(self.sessions)

    @property
    def at_rest(self) -> bool:
        """No session is left, and every LAC has acknowledged the end of its tunnel."""
        return not self.sessions and all(
            entry.ended and not entry.tunnel.channel.queue_length
            for entry in self._tunnels.values()
        )

    def configure(self, config: Config) -> None:
        """Take over a configuration: tunnels and sessions that are up keep what they agreed."""
        self.config = config
        self.settings = settings_from(config)
        self.endpoint.config = self.settings.endpoint
        self.accounting.enabled = config.radius_accounting
        self.usage_report.configure(self.clock())
        self.cleanup.configure(self.clock())

    def refresh_routes(self) -> None:
        """Tell the plane anew about every session, because plugins want to see packets, or no
        longer do."""
        self._stale.add(list(self.sessions.values()), self.clock())

    def replace_pool(self, addresses: Iterable[int]) -> None:
        """Give out other addresses from now on. Sessions keep theirs, and the way to them."""
        self.pool.replace(addresses, self._holder_of)
        self._stranded.add(list(self.sessions.values()), self.clock())

    def packet_rx(self, key: int, packet: bytes) -> bytes | None:
        """Show a subscriber's packet to the plugins (event packet_rx); None drops it."""
        session = self.sessions.get(key)
        if session is None:
            return packet
        param = ParamPacketRx(
            t=session.tunnel_id, s=session.session_id, session=session, buf=packet, len=len(packet)
        )
        return param.buf if self.plugins.packet_rx(param).succeeded else None

    def packet_tx(self, key: int, packet: bytes) -> bytes | None:
        """The same for a packet to the subscriber (event packet_tx)."""
        session = self.sessions.get(key)
        if session is None:
            return packet
        param = ParamPacketTx(
            t=session.tunnel_id, s=session.session_id, session=session, buf=packet, len=len(packet)
        )
        return param.buf if self.plugins.packet_tx(param).succeeded else None

    # What the parts of the LNS use among themselves

    def touch(self, session: Session) -> None:
        """Something happened to a session: look at its link before the call returns."""
        self._pump.touch(session)

    def settle(self, session: Session, now: float) -> None:
        """touch() at the end of a call from outside."""
        self.touch(session)
        self._pump.flush(now)

    def next_unique(self) -> int:
        self._unique += 1
        return self._unique

    @property
    def highest_unique(self) -> int:
        """The last number that next_unique() gave out."""
        return self._unique

    def go_on_from(self, unique: int) -> None:
        """Numbers up to this one were given out by another process."""
        self._unique = max(self._unique, unique)

    def adopt_tunnel(self, tunnel: Tunnel) -> TunnelEntry:
        """Go on with a tunnel that the endpoint has restored."""
        entry = self._entry_of(tunnel)
        self._pump.touch_tunnel(entry)
        return entry

    def adopt_session(self, session: Session, entry: TunnelEntry) -> None:
        """Go on with a session of another process: in every table, but not in the plane yet."""
        session.timer = Timer(partial(self.session_due, session))
        self.tables.add(session)
        self.tables.index_login(session)
        entry.keys[session.key] = None

    def flush(self, now: float) -> None:
        """Carry out what was noted outside of a call."""
        self._pump.flush(now)

    def tunnel_entries(self) -> Iterable[TunnelEntry]:
        """All tunnels that there are."""
        return self._tunnels.values()

    def has_tunnel(self, tunnel_id: int) -> bool:
        return tunnel_id in self._tunnels

    def tunnel_of(self, peer: Peer, peer_tunnel_id: int) -> int:
        """Our id of the tunnel that a LAC knows by its own, 0 for none. A search: for the log."""
        return next(
            (
                tunnel.local_id
                for tunnel in self.endpoint.tunnels.values()
                if tunnel.peer == peer and tunnel.peer_id == peer_tunnel_id
            ),
            0,
        )

    def session_of_call(self, entry: TunnelEntry, session_id: int) -> Session | None:
        return self.sessions.get(session_key(entry.tunnel.local_id, session_id))

    def session_due(self, session: Session, now: float) -> None:
        """The session's timer fired."""
        link = session.link
        try:
            link_deadline = link.get_timer() if link is not None else None
            if link is not None and link_deadline is not None and link_deadline <= now:
                link.heard(self.plane.counters(session.key).heard_at)
                link.handle_timer(now)
            self.limits.meet(session, now)
        except Exception:  # noqa: BLE001  (border: costs this session only)
            self.fail(session, now)
        self.touch(session)

    def close(self, session: Session, ending: Ending, now: float) -> None:
        """Begin a clean end: traffic stops, the client gets an LCP Terminate-Request. The session
        ends when the client answers, or when it does not answer in time."""
        if session.is_going:
            return
        session.ending = ending
        if session.link is None:
            self.end(session, ending, now)
            return
        session.state = SessionState.CLOSING
        self.lives.note(session, Step.CLOSING, ending.reason)
        self.limits.lift(session)
        self.login.abandon(session)
        self.install(session)
        session.link.close(now, ending.reason)
        self.touch(session)

    def end_now(self, session: Session, ending: Ending, now: float) -> None:
        """End a session without waiting for its client, because another takes its place."""
        session.ending = session.ending or ending
        if session.link is not None:
            session.link.close(now, ending.reason)
        self.end(session, ending, now)

    def end(self, session: Session, ending: Ending, now: float) -> None:
        """The one end of every session, however it came about; a second call does nothing.

        The counters are taken before anything is torn down, and the Stop carries them.
        """
        if session.state is SessionState.ENDED:
            return
        session.state = SessionState.ENDED
        session.ending = ending = session.ending or ending
        self.plugins.kill_session(
            ParamKillSession(t=session.tunnel_id, s=session.session_id, session=session)
        )
        if session.link is not None:
            self.plane.send_frames(session.key, session.link.frames_to_send())
        usage = garden.counted(session, self.plane.remove(session.key))
        session.final_usage = usage
        self.lives.end(session, usage)
        self.keeper.session_ended(session)
        self.login.abandon(session)
        self.login.release_address(session, now)
        self.tables.remove(session)
        self._pump.forget(session)
        if session.timer is not None:
            self.timers.cancel(session.timer)
        session.link = session.timer = None
        self.counters.session_ended += 1
        self.ends[ending.cause] += 1
        self._leave_tunnel(session, ending, now)
        self.accounting.stop(session, usage)
        self.usage_report.leave(session, usage)
        log.warning("session ended: %s", ending.reason, extra=session.log_ids())

    def fail(self, session: Session, now: float) -> None:
        """Called where an exception ends its way up: a mistake of ours, or what a plugin left
        behind, costs the session that it was met with and no other."""
        log.exception("session failed, it is ended", extra=session.log_ids())
        self.counters.session_failed += 1
        self.end_now(session, FAILED, now)

    def install(self, session: Session) -> None:
        """Tell the plane what it needs to know of a session as it is now."""
        self.keeper.session_changed(session)
        tunnel, link = self._tunnels[session.tunnel_id].tunnel, session.link
        call = tunnel.calls.get(session.session_id)
        forwards = session.network_up and session.state is SessionState.NETWORK
        mru = min(session.mru, self.settings.mru)
        self.plane.install(
            SessionRoute(
                key=session.key,
                peer=tunnel.peer,
                local=tunnel.local,
                peer_tunnel_id=tunnel.peer_id,
                peer_session_id=session.peer_session_id,
                ppp_prefix=link.ip_prefix if link is not None else NO_PREFIX,
                ip=session.ip if forwards else 0,
                networks=self.login.networks(session) if forwards else (),
                mru=mru,
                clamp_mss=mru - IP_AND_TCP_HEADERS,
                send_sequence=call is not None and call.sequencing_required,
                throttle_in=session.throttle_in,
                throttle_out=session.throttle_out,
                snoop=_snoop_target(session),
                filter_in=self.access_lists.get(session.filter_in),
                filter_out=self.access_lists.get(session.filter_out),
                hooked=self.plugins.listens("packet_rx") or self.plugins.listens("packet_tx"),
                magic=_magic(link),
            )
        )

    def doom(self, sessions: Iterable[Session], ending: Ending, now: float) -> None:
        """End many sessions, a slice at a time."""
        self._doomed.add(((session, ending) for session in sessions), now)

    def forget_tunnel(self, entry: TunnelEntry) -> None:
        """The tunnel is over, its peer knows, and no session of it is left."""
        self.timers.cancel(entry.timer)
        self._pump.forget_tunnel(entry)
        self._tunnels.pop(entry.tunnel.local_id, None)
        self.endpoint.forget(entry.tunnel)

    def _entry_of(self, tunnel: Tunnel) -> TunnelEntry:
        entry = self._tunnels.get(tunnel.local_id)
        if entry is None:
            entry = TunnelEntry(tunnel, Timer(lambda now: None))
            entry.timer.callback = partial(self._tunnel_due, entry)
            self._tunnels[tunnel.local_id] = entry
        return entry

    def _tunnel_due(self, entry: TunnelEntry, now: float) -> None:
        deadline = entry.tunnel.get_timer()
        if deadline is not None and deadline <= now:
            entry.tunnel.handle_timer(now)
        self._pump.touch_tunnel(entry)

    def _drain(self, entry: TunnelEntry, ending: Ending, result: StopResult, now: float) -> None:
        """Let a tunnel end when its sessions have, or after TUNNEL_DRAIN_S."""
        if entry.drain_ends_at:
            return
        entry.drain_ends_at = now + TUNNEL_DRAIN_S
        entry.drain_result, entry.drain_reason = result, ending.reason
        self.doom([self.sessions[key] for key in entry.keys], ending, now)
        self._pump.touch_tunnel(entry)

    def _leave_tunnel(self, session: Session, ending: Ending, now: float) -> None:
        entry = self._tunnels.get(session.tunnel_id)
        if entry is None:
            return
        entry.keys.pop(session.key, None)
        if not ending.lac_knows:
            entry.tunnel.disconnect_call(
                session.session_id,
                ending.result,
                ending.error,
                ending.reason,
                now,
                ending.disconnect_cause,
            )
        self._pump.touch_tunnel(entry)

    def _execute(self, doomed: tuple[Session, Ending], now: float) -> None:
        session, ending = doomed
        if ending.lac_knows:
            self.end(session, ending, now)
        else:
            self.close(session, ending, now)

    def _reinstall(self, session: Session, now: float) -> None:
        if session.link is not None:
            self.install(session)

    def _route_if_uncovered(self, session: Session, now: float) -> None:
        if session.state is SessionState.ENDED:
            return
        if session.ip and not self.routes.covers(session.ip):
            self.routes.add(session.ip, 32)
        for network, prefix_length in self.login.networks(session):
            self.routes.add(network, prefix_length)

    def _holder_of(self, ip: int) -> tuple[str, int] | None:
        session = self.tables.by_ip(ip)
        return None if session is None else (session.user, session.key)


def _forget_plugin_data(left: tuple[Session, str, object], now: float) -> None:
    """Unless the plugin was loaded again meanwhile, and keeps something else there now."""
    session, plugin, value = left
    data = session.plugin_data
    if data is not None and data.get(plugin) is value:
        data.pop(plugin, None)


def _magic(link: Link | None) -> int:
    """What the plane may answer LCP Echo-Requests with."""
    return link.magic if link is not None and link.lcp_state is State.OPENED else 0


def _snoop_target(session: Session) -> Peer | None:
    if not 0 < session.snoop_ip <= MAX_ADDRESS or not 0 < session.snoop_port <= MAX_PORT:
        return None
    return str(IPv4Address(session.snoop_ip)), session.snoop_port
