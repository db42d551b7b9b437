"""Whole dialogues of a link with a simulated client, on a clean line and on a bad one."""

import pytest

from l2tpns_core.ppp.config import AuthProtocol, LcpRenegotiation, ProxyLcp
from l2tpns_core.ppp.events import CloseReason
from l2tpns_core.ppp.link import Phase
from unit.ppp.wire import LCP, NETWORK, PAP, REQUEST, Client, Line, make_link

ALL = (AuthProtocol.MSCHAP_V2, AuthProtocol.CHAP_MD5, AuthProtocol.PAP)
UP = ["AuthenticationRequested", "NetworkOpened"]


@pytest.mark.parametrize("method", ALL)
def test_a_client_logs_in_and_gets_its_addresses(method: AuthProtocol) -> None:
    link = make_link(auth=ALL)
    line = Line(link, Client(methods=(method,)))
    line.dial()
    assert line.run(lambda: line.client.up and "NetworkOpened" in line.names())
    assert line.names() == UP
    assert line.client.address == NETWORK.peer_ip.to_bytes(4, "big")
    assert line.client.dns == tuple(address.to_bytes(4, "big") for address in NETWORK.dns)
    assert (link.phase, link.auth_protocol) == (Phase.NETWORK, method)
    assert (link.lcp_state.label, link.ipcp_state.label) == ("Opened", "Opened")


@pytest.mark.parametrize("method", ALL)
def test_a_dial_takes_no_longer_than_its_round_trips(method: AuthProtocol) -> None:
    line = Line(make_link(auth=(method,)), Client(methods=(method,)), delay=0.05)
    line.dial()
    assert line.run(lambda: line.client.up)
    # LCP, Challenge, Response, Success, and IPCP twice: nine ways across the line at most.
    assert line.now <= 9.01 * line.delay


def test_a_client_that_misses_our_first_request_is_not_kept_waiting() -> None:
    line = Line(make_link(), Client(), client_starts_at=0.2, delay=0.001)
    line.dial()
    assert line.run(lambda: line.client.up)
    assert line.now < 0.22


def test_a_first_request_that_crosses_ours_does_not_restart_the_negotiation() -> None:
    line = Line(make_link(), Client(), delay=0.001)
    line.dial()
    assert line.run(lambda: line.client.up)
    assert "LinkRestarted" not in line.names()
    requests = [s for target, s in line.frames if target == "link" and s.code == REQUEST]
    assert len([s for s in requests if s.protocol == LCP]) == 1


@pytest.mark.parametrize("method", ALL)
@pytest.mark.parametrize("seed", range(25))
def test_a_dial_succeeds_over_a_line_that_loses_a_fifth(method: AuthProtocol, seed: int) -> None:
    link = make_link(auth=(method,), login_timeout_s=200.0, max_configure=30)
    line = Line(link, Client(methods=(method,)), loss=0.2, seed=seed)
    line.dial()
    assert line.run(lambda: line.client.up and link.ipcp_state.label == "Opened")
    assert line.closed is None


@pytest.mark.parametrize("method", ALL)
def test_a_wrong_password_is_refused_and_ends_the_link(method: AuthProtocol) -> None:
    line = Line(make_link(auth=(method,)), Client(methods=(method,), password=b"wrong"))
    line.dial()
    assert line.run(lambda: line.closed is not None)
    assert line.client.failed
    assert line.client.terminated
    assert line.closed is not None
    assert line.closed.reason is CloseReason.AUTHENTICATION_FAILED
    assert line.now < 1


def test_the_client_chooses_among_what_we_allow() -> None:
    line = Line(make_link(auth=ALL), Client(methods=(AuthProtocol.CHAP_MD5,)))
    line.dial()
    assert line.run(lambda: line.client.up)
    assert line.link.auth_protocol is AuthProtocol.CHAP_MD5


@pytest.mark.parametrize(
    ("methods", "text"),
    [
        ((AuthProtocol.PAP,), "no authentication protocol in common"),
        ((), "the peer refuses to authenticate"),
    ],
)
def test_a_client_without_a_method_in_common_is_sent_away(
    methods: tuple[AuthProtocol, ...], text: str
) -> None:
    line = Line(make_link(auth=(AuthProtocol.CHAP_MD5,)), Client(methods=methods))
    line.dial()
    assert line.run(lambda: line.closed is not None)
    assert line.closed is not None
    assert (line.closed.reason, line.closed.text) == (CloseReason.NEGOTIATION_FAILED, text)


def test_a_silent_client_is_given_up_after_max_configure_requests() -> None:
    line = Line(make_link(max_configure=4), Client(), loss=1.0)
    line.dial()
    assert line.run(lambda: line.closed is not None)
    assert line.closed is not None
    assert line.closed.reason is CloseReason.NEGOTIATION_FAILED
    assert len([1 for target, _ in line.frames if target == "client"]) == 4
    assert line.now == 12.0
    assert line.link.phase is Phase.DEAD


def test_a_restarted_client_logs_in_again() -> None:
    line = Line(make_link(), Client())
    line.dial()
    assert line.run(lambda: line.client.up)
    line.client.magic = b"new!"
    line.client.start(line.now)
    assert line.run(lambda: line.client.up and line.link.ipcp_state.label == "Opened")
    assert line.names() == [*UP, "LinkRestarted", *UP]


def test_a_client_that_hangs_up_is_acknowledged() -> None:
    line = Line(make_link(), Client())
    line.dial()
    assert line.run(lambda: line.client.up)
    line.client._send(LCP, 5, 77, b"bye")
    assert line.run(lambda: line.closed is not None)
    assert line.closed is not None
    assert line.closed.reason is CloseReason.PEER_TERMINATED
    assert line.frames[-1][1].code == 6
    assert line.frames[-1][1].identifier == 77


def test_idle_lines_stay_up_on_echoes_and_a_dead_client_is_noticed() -> None:
    line = Line(make_link(dead_after_s=60.0), Client())
    line.dial()
    assert line.run(lambda: line.client.up)
    assert not line.run(lambda: line.closed is not None, limit=1000)
    assert line.link.quality is not None
    assert line.link.quality.last_s == pytest.approx(2 * line.delay, abs=0.0001)
    line.client.echoes = False
    assert line.run(lambda: line.closed is not None, limit=2000)
    assert line.closed is not None
    assert line.closed.reason is CloseReason.LOST
    assert 1060 - 15 < line.now <= 1075


def test_compressed_fields_are_used_once_the_client_takes_them() -> None:
    line = Line(make_link(), Client(extra_lcp=((7, b""), (8, b""), (1, b"\x05\xdc"))))
    line.dial()
    assert line.run(lambda: line.client.up)
    assert line.link.ip_prefix == b"\x21"
    to_client = [s for target, s in line.frames if target == "client"]
    assert not any(s.compressed for s in to_client if s.protocol == LCP)
    assert all(s.compressed for s in to_client if s.protocol == PAP)


def test_proxy_data_is_ignored_when_it_is_to_be_negotiated_anew() -> None:
    line = Line(make_link(renegotiate=LcpRenegotiation.ALWAYS), Client())
    line.dial(ProxyLcp(last_sent_lcp=b"\x03\x04\xc0\x23", last_received_lcp=b""))
    assert line.link.lcp_state.label == "Req-Sent"
    assert line.run(lambda: line.client.up)
