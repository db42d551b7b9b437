"""A Linux client (xl2tpd, pppd, kernel L2TP) dials in through FreeRADIUS and uses the line."""

import re
import statistics
from collections.abc import Iterator
from ipaddress import IPv4Address

import pytest

from interop.accounting import ACCOUNTING_TIMEOUT_S, accounting_of, start_of, stop_of
from interop.capture import Capture
from interop.freeradius import FreeRadius, octets
from interop.lineup import (
    CLIENT,
    DNS,
    FIXED_ADDRESS,
    HOST,
    LNS,
    PASSWORD,
    PEER,
    POOL,
    TUNNEL_SECRET,
    Host,
)
from interop.lnsdaemon import LnsDaemon
from interop.namespaces import wait_for
from interop.realclient import RealClient

pytestmark = [pytest.mark.daemon, pytest.mark.interop, pytest.mark.netns]

MTU = 1462
"""What is left of 1500 bytes after IP, UDP, L2TP and PPP."""
IP_AND_ICMP_HEADERS = 28
DROP_TIMEOUT_S = 5
DIALS = 7
ASSIGNED_SESSION_ID = 14
RANDOM_VECTOR = 36
MAX_DIAL_S = 0.6
HANGUP_CAUSES = ("User-Request", "Lost-Carrier", "Lost-Service")
GENTLE = ("-n", "2M", "-w", "64K")
"""An amount of TCP that nothing on the way has to drop, so that all counts can be equal."""
CREDENTIALS = {"pap": "User-Password", "chap": "CHAP-Password", "mschapv2": "MS-CHAP2-Response"}
REFUSALS = {
    "pap": "rcvd [PAP AuthNak",
    "chap": "rcvd [CHAP Failure",
    "mschapv2": "rcvd [CHAP Failure",
}


def wait_until_empty(lns: LnsDaemon) -> None:
    wait_for(lambda: not lns.sessions(), DROP_TIMEOUT_S, "empty session table")


@pytest.mark.parametrize("auth", CREDENTIALS)
def test_client_dials_and_moves_traffic(
    lns: LnsDaemon, client: RealClient, radius: FreeRadius, auth: str
) -> None:
    """Each way to authenticate leads to an address, DNS servers, pings and TCP both ways."""
    with client.dial("alice", PASSWORD, auth) as session:
        assert session.is_up(), session.log
        assert IPv4Address(session.given["local"]) in POOL
        assert session.given["remote"] == PEER
        assert session.dns == list(DNS)
        assert session.given["mtu"] == str(MTU)
        assert CREDENTIALS[auth] in radius.requests("alice")[-1]
        assert session.ping(HOST) == 3
        assert session.ping(HOST, 2, MTU - IP_AND_ICMP_HEADERS) == 2
        up, down = session.iperf(HOST, "-t", "1"), session.iperf(HOST, "-t", "1", "-R")
        print(f"{auth}: TCP {up:.0f} Mbit/s up, {down:.0f} Mbit/s down")
        assert min(up, down) > 1
    wait_until_empty(lns)


def test_static_address_from_radius(lns: LnsDaemon, client: RealClient) -> None:
    """Framed-IP-Address is what the client gets, and traffic finds its way back to it."""
    with client.dial("fixed", PASSWORD) as session:
        assert session.given["local"] == FIXED_ADDRESS
        assert session.ping(HOST) == 3
    wait_until_empty(lns)


def test_accounting_agrees_with_what_passed(
    lns: LnsDaemon, client: RealClient, radius: FreeRadius, host: Host
) -> None:
    """Start, Interim and Stop carry the bytes that client and host counted, to the byte."""
    before = host.traffic()
    with client.dial("meter", PASSWORD) as session:
        start = start_of(radius, session, "meter")
        assert session.ping(HOST) == 3
        session.iperf(HOST, *GENTLE)
        session.iperf(HOST, *GENTLE, "-R")
        traffic = session.traffic_at_rest()
        passed = (traffic.sent, traffic.received)
        after = host.traffic()
        assert passed == (after[0] - before[0], after[1] - before[1])
        assert min(passed) > 2_000_000

        def is_reported() -> bool:
            records = accounting_of(radius, start["Acct-Session-Id"])[1:]
            return any(octets(record) == passed for record in records)

        wait_for(is_reported, ACCOUNTING_TIMEOUT_S, f"Interim-Update with {passed}")
        session.hangup("ppp")
        assert (session.traffic().sent, session.traffic().received) == passed
    stop = stop_of(radius, start)
    assert octets(stop) == passed
    assert stop["Acct-Terminate-Cause"] == "User-Request"
    assert stop["Framed-IP-Address"] == start["Framed-IP-Address"]
    assert 1 <= int(stop["Acct-Session-Time"]) <= 60
    assert int(stop["Acct-Input-Packets"]) > 1000
    wait_until_empty(lns)


def test_dial_takes_less_than_the_limit(lns: LnsDaemon, client: RealClient) -> None:
    """The median over several dials, each with a tunnel of its own, SCCRQ to address."""
    times = []
    for _ in range(DIALS):
        with client.dial("bob", PASSWORD) as session:
            times.append(session.dial_seconds)
    median = statistics.median(times)
    print(f"dial times: {', '.join(f'{t:.3f}' for t in times)} s; median {median:.3f} s")
    assert median < MAX_DIAL_S
    wait_until_empty(lns)


@pytest.mark.parametrize("auth", REFUSALS)
def test_wrong_password_is_told(
    lns: LnsDaemon, client: RealClient, radius: FreeRadius, auth: str
) -> None:
    """The client hears the refusal in the words of its protocol; there is no accounting."""
    with client.dial("carol", "wrong", auth) as session:
        assert session.is_over()
        assert REFUSALS[auth] in session.log
        assert "rcvd [LCP TermReq" in session.log
    wait_until_empty(lns)
    assert radius.accounting("carol") == []


@pytest.mark.parametrize("how", ["ppp", "call", "tunnel", "kill"])
def test_hangup(lns: LnsDaemon, client: RealClient, radius: FreeRadius, how: str) -> None:
    """LCP Terminate, CDN, StopCCN and a killed pppd each end the session at once: one Stop."""
    with client.dial("dave", PASSWORD) as session:
        start = start_of(radius, session, "dave")
        session.hangup(how)
        wait_until_empty(lns)
        stop = stop_of(radius, start)
        assert stop["Acct-Terminate-Cause"] in HANGUP_CAUSES


def test_client_that_vanished_dials_again(
    lns: LnsDaemon, client: RealClient, radius: FreeRadius
) -> None:
    """After a crash of the client without a word, its next dial replaces the dead session."""
    with client.dial("erin", PASSWORD) as first:
        start = start_of(radius, first, "erin")
        first.hangup("vanish")
    with client.dial("erin", PASSWORD) as second:
        assert second.is_up(), second.log
        assert second.lac.port == first.lac.port
        assert second.ping(HOST) == 3
        assert stop_of(radius, start)["Acct-Session-Id"] == start["Acct-Session-Id"]
        assert len(lns.sessions()) == 1
    wait_until_empty(lns)


def test_operator_drops_session(lns: LnsDaemon, client: RealClient, radius: FreeRadius) -> None:
    """`drop session` reaches the client as LCP Terminate and RADIUS as Admin-Reset."""
    with client.dial("dave", PASSWORD) as session:
        start = start_of(radius, session, "dave")
        lns.cli(f"drop session {session.tunnel_id}/{session.session_id}")
        session.wait_over()
        assert "rcvd [LCP TermReq" in session.log
        assert stop_of(radius, start)["Acct-Terminate-Cause"] == "Admin-Reset"
        wait_until_empty(lns)


def test_two_sessions_on_one_tunnel(lns: LnsDaemon, client: RealClient) -> None:
    """Hanging up one call leaves the other one on the tunnel alone."""
    with client.dial("alice", PASSWORD) as first:
        with client.dial("bob", PASSWORD, beside=first) as second:
            assert second.is_up(), second.log
            assert second.given["local"] != first.given["local"]
            assert second.ping(HOST) == first.ping(HOST) == 3
            second.hangup("call")
        wait_for(lambda: len(lns.sessions()) == 1, DROP_TIMEOUT_S, "end of the second session")
        assert first.ping(HOST) == 3
    wait_until_empty(lns)


def test_client_without_kernel_l2tp(
    lns: LnsDaemon, client: RealClient, radius: FreeRadius, capture: Capture
) -> None:
    """xl2tpd relaying to pppd over a pty: compressed PPP headers, data with the Length field."""
    with client.dial("alice", PASSWORD, "pap", userland=True) as session:
        assert session.is_up(), session.log
        start = start_of(radius, session, "alice")
        assert re.search(r"rcvd \[LCP ConfAck .*<pcomp> <accomp>", session.log)
        assert session.ping(HOST, 2, MTU - IP_AND_ICMP_HEADERS) == 2
        session.iperf(HOST, *GENTLE)
        session.iperf(HOST, *GENTLE, "-R")
        traffic = session.traffic_at_rest()
        session.hangup("ppp")
    data = [d for d in capture.datagrams() if d.source == CLIENT and not d.is_control]
    assert data
    assert all(d.has_length for d in data)
    assert octets(stop_of(radius, start)) == (traffic.sent, traffic.received)
    wait_until_empty(lns)


class TestTunnelSecret:
    """With `l2tp_challenge_lac` both sides prove themselves (RFC 2661 section 5.1.1)."""

    @pytest.fixture(autouse=True)
    def _challenge(self, lns: LnsDaemon) -> Iterator[None]:
        lns.switch(l2tp_challenge_lac=True)
        yield
        lns.switch(l2tp_challenge_lac=False, l2tp_hide_avps=False)

    def test_both_sides_challenge(self, lns: LnsDaemon, client: RealClient) -> None:
        """Each side proves that it knows the secret; the call goes through."""
        with client.dial("alice", PASSWORD, secret=TUNNEL_SECRET) as session:
            assert session.is_up(), session.log
            assert session.ping(HOST) == 3
        wait_until_empty(lns)

    def test_wrong_secret_is_refused(self, client: RealClient, radius: FreeRadius) -> None:
        """The client hears the LNS's wrong answer; no call gets as far as a login."""
        before = len(radius.requests("carol"))
        with client.dial("carol", PASSWORD, secret="another") as session:
            assert session.is_over()
            assert "Invalid challenge authentication" in session.lac.text()
        assert len(radius.requests("carol")) == before

    def test_hidden_avps(self, lns: LnsDaemon, client: RealClient, capture: Capture) -> None:
        """The client reads what the LNS hides. (Its own `hidden bit` is a Random Vector and
        nothing behind it, which the LNS takes as well.)"""
        lns.switch(l2tp_hide_avps=True)
        with client.dial("alice", PASSWORD, secret=TUNNEL_SECRET, hide_avps=True) as session:
            assert session.is_up(), session.log + session.lac.text()
            assert session.ping(HOST) == 3
        wait_until_empty(lns)
        seen = {(d.source, *avp) for d in capture.datagrams() for avp in d.avps()}
        assert (LNS, ASSIGNED_SESSION_ID, True) in seen
        assert (CLIENT, RANDOM_VECTOR, False) in seen
