"""One session as an operator sees it: a line of the list, its details, its JSON object.

"Down" is towards the user. The idle time counts from the last IP packet in either direction.
"""

from collections.abc import Iterator
from ipaddress import IPv4Address

from l2tpns_core.cli.context import LnsView
from l2tpns_core.cli.grammar import Access
from l2tpns_core.observe.text import printable, token
from l2tpns_core.ppp.link import Phase
from l2tpns_core.session import Session

HEADER = (
    f"{'SID':>5} {'TID':>5} {'Username':<32} {'IP':<15} I T G {'opened':>10} {'downloaded':>10} "
    f"{'uploaded':>10} {'idle':>4} {'LAC':<15} CLI"
)
UNKNOWN = "*"


class SessionView:
    """A session and its traffic at one moment. Whether it is intercepted is for privileged eyes;
    to all others no session ever is."""

    __slots__ = ("_privileged", "_session", "_usage", "idle_s", "now", "opened_s")

    def __init__(self, session: Session, lns: LnsView, access: Access) -> None:
        self._session = session
        self._privileged = access.privileged
        self._usage = lns.usage(session)
        self.now = lns.clock()
        self.opened_s = max(0, int(lns.wall() - session.opened))
        since = self._usage.data_at or session.network_up_at
        self.idle_s = max(0, int(self.now - since)) if since else self.opened_s

    def line(self) -> str:
        """The line of `show session`."""
        session, usage = self._session, self._usage
        flags = " ".join(
            "Y" if flag else "N" for flag in (self.snooped, self.throttled, self.garden)
        )
        return (
            f"{session.session_id:>5} {session.tunnel_id:>5} {token(session.user) or UNKNOWN:<32} "
            f"{IPv4Address(session.ip)!s:<15} {flags} {self.opened_s:>10} "
            f"{usage.octets_out:>10} {usage.octets_in:>10} {self.idle_s:>4} "
            f"{session.lac_address:<15} {token(session.calling_number) or UNKNOWN}"
        )

    def details(self) -> Iterator[str]:
        """The lines of `show session ID`."""
        session, usage = self._session, self._usage
        yield ""
        yield f"Session {session.session_id}:"
        yield f"\tUser:\t\t{printable(session.user) or 'none'}"
        yield f"\tCalling Num:\t{printable(session.calling_number)}"
        yield f"\tCalled Num:\t{printable(session.called_number)}"
        yield f"\tTunnel ID:\t{session.tunnel_id}"
        yield f"\tRemote ID:\t{session.peer_session_id}"
        yield f"\tPPP Phase:\t{self.phase.value.capitalize()}"
        yield from self._protocol_lines()
        yield f"\tIP address:\t{IPv4Address(session.ip)}"
        for route in session.routes:
            yield f"\tIP route:\t{IPv4Address(route.network)}/{route.prefix_length}"
        yield f"\tUnique SID:\t{session.unique}"
        yield f"\tOpened:\t\t{self.opened_s} seconds"
        yield f"\tIdle time:\t{self.idle_s} seconds"
        yield from self._limit_lines()
        yield f"\tBytes In/Out:\t{usage.octets_out}/{usage.octets_in}"
        yield f"\tPkts In/Out:\t{usage.packets_out}/{usage.packets_in}"
        yield f"\tMRU:\t\t{session.mru}"
        yield f"\tRx Speed:\t{session.rx_speed}"
        yield f"\tTx Speed:\t{session.tx_speed}"
        yield from self._quality_lines()
        if session.filter_in:
            yield f"\tFilter in:\t{printable(session.filter_in)}"
        if session.filter_out:
            yield f"\tFilter out:\t{printable(session.filter_out)}"
        yield f"\tIntercepted:\t{self._snoop_text()}"
        yield f"\tWalled Garden:\t{'YES' if self.garden else 'no'}"
        yield f"\tThrottled:\t{self._throttle_text()}"
        if session.ending is not None:
            yield f"\tEnding:\t\t{printable(session.ending.reason)}"

    def data(self) -> dict[str, object]:
        """Everything, with numbers as numbers. Times are seconds, speeds bit/s."""
        session, usage, link = self._session, self._usage, self._session.link
        return {
            "session_id": session.session_id,
            "tunnel_id": session.tunnel_id,
            "remote_session_id": session.peer_session_id,
            "unique": session.unique,
            "accounting_id": session.accounting_id,
            "user": session.user,
            "ip": str(IPv4Address(session.ip)),
            "address_source": session.address_source.value,
            "routes": [f"{IPv4Address(net)}/{length}" for net, length in session.routes],
            "dns": [str(IPv4Address(server)) for server in session.dns if server],
            "state": session.state.value,
            "phase": self.phase.value,
            "lcp_state": link.lcp_state.label if link is not None else None,
            "ipcp_state": link.ipcp_state.label if link is not None else None,
            "opened_time": session.opened,
            "opened_s": self.opened_s,
            "idle_s": self.idle_s,
            "session_timeout_s": session.session_timeout,
            "idle_timeout_s": session.idle_timeout,
            "remaining_s": self._remaining() if session.ends_at else None,
            "interim_interval_s": session.interim_interval,
            "downloaded_bytes": usage.octets_out,
            "uploaded_bytes": usage.octets_in,
            "downloaded_packets": usage.packets_out,
            "uploaded_packets": usage.packets_in,
            "line_quality": self._quality_data(),
            "mru": session.mru,
            "rx_speed": session.rx_speed,
            "tx_speed": session.tx_speed,
            "intercepted": self.snooped,
            "snoop_ip": str(IPv4Address(session.snoop_ip)) if self.snooped else None,
            "snoop_port": session.snoop_port if self.snooped else None,
            "throttled": self.throttled,
            "throttle_in_kbps": session.throttle_in,
            "throttle_out_kbps": session.throttle_out,
            "walled_garden": self.garden,
            "filter_in": session.filter_in,
            "filter_out": session.filter_out,
            "lac": session.lac_address,
            "calling_number": session.calling_number,
            "called_number": session.called_number,
            "ending": session.ending.reason if session.ending is not None else None,
        }

    @property
    def snooped(self) -> bool:
        return self._privileged and bool(self._session.snoop_ip)

    @property
    def throttled(self) -> bool:
        return bool(self._session.throttle_in or self._session.throttle_out)

    @property
    def garden(self) -> bool:
        return self._session.walled_garden

    @property
    def phase(self) -> Phase:
        link = self._session.link
        return Phase.DEAD if link is None else link.phase

    def _protocol_lines(self) -> Iterator[str]:
        link = self._session.link
        if link is None or link.phase is Phase.DEAD:
            return
        if link.phase is Phase.NETWORK:
            yield f"\t IPCP state:\t{link.ipcp_state.label}"
        else:
            yield f"\t LCP state:\t{link.lcp_state.label}"

    def _quality_lines(self) -> Iterator[str]:
        """What the last LCP echoes say of the line."""
        quality = None if self._session.link is None else self._session.link.quality
        if quality is None:
            return
        if quality.last_s is not None:
            times = (quality.least_s, quality.median_s, quality.most_s)
            parts = "/".join(f"{1000 * (each or 0.0):.1f}" for each in times)
            jitter = "" if quality.jitter_s is None else f", jitter {1000 * quality.jitter_s:.1f}"
            yield f"\tRound trip:\t{1000 * quality.last_s:.1f} ms (min/median/max {parts}{jitter})"
        loss = f"{quality.lost} of the last {quality.echoes} echoes"
        if quality.lost_at:
            loss += f", the newest {max(0, int(self.now - quality.lost_at))} seconds ago"
        yield f"\tLost:\t\t{loss}"

    def _quality_data(self) -> dict[str, object] | None:
        quality = None if self._session.link is None else self._session.link.quality
        if quality is None:
            return None
        return {
            "echoes": quality.echoes,
            "lost": quality.lost,
            "loss": round(quality.loss, 4),
            "last_s": quality.last_s,
            "min_s": quality.least_s,
            "median_s": quality.median_s,
            "max_s": quality.most_s,
            "jitter_s": quality.jitter_s,
            "lost_s_ago": round(max(0.0, self.now - quality.lost_at), 3)
            if quality.lost_at
            else None,
        }

    def _limit_lines(self) -> Iterator[str]:
        session = self._session
        if session.ends_at:
            yield f"\tSess Timeout:\t{self._remaining()} seconds"
        if session.idle_timeout:
            yield f"\tIdle Timeout:\t{max(0, session.idle_timeout - self.idle_s)} seconds"

    def _remaining(self) -> int:
        return max(0, int(self._session.ends_at - self.now))

    def _snoop_text(self) -> str:
        if not self.snooped:
            return "no"
        return f"{IPv4Address(self._session.snoop_ip)}:{self._session.snoop_port}"

    def _throttle_text(self) -> str:
        if not self.throttled:
            return "no"
        rates = (self._session.throttle_in, self._session.throttle_out)
        return f"YES ({'/'.join(f'{rate}kbps' if rate else '-' for rate in rates)})"
