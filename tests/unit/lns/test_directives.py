"""Directives of L2TP, PPP and sessions: what they change for a LAC and its clients, in virtual
time. Which test sees which directive is in unit.config.test_every_directive_acts."""

import struct
from dataclasses import replace

import pytest

from l2tpns_core.dataplane.plane import SessionCounters
from l2tpns_core.radius.model import AccessOutcome, AccessReply
from support.memory import Client, Lac, World, avp, ip

SCCRQ, SCCRP, STOPCCN, HELLO, ICRQ, CDN = 1, 2, 4, 6, 10, 14
ASSIGNED_SESSION_ID, RANDOM_VECTOR, HIDDEN = 14, 36, 0x4000
LCP = 0xC021
CONFIGURE_REQUEST, CONFIGURE_NAK, CONFIGURE_REJECT, TERMINATE_REQUEST, ECHO_REQUEST = 1, 3, 4, 5, 9
REQUEST = (
    avp(2, b"\1\0")
    + avp(3, bytes(4))
    + avp(7, b"lac")
    + avp(9, struct.pack("!H", 77))
    + avp(10, b"\0\x80")
)


def codes(client: Client, code: int, protocol: int = LCP) -> list[bytes]:
    """The frames of a protocol with a code that a client got."""
    frames = [frame.removeprefix(b"\xff\x03") for frame in client.frames]
    return [
        frame for frame in frames if frame[:2] == protocol.to_bytes(2, "big") and frame[2] == code
    ]


def half_open(world: World, port: int = 1701, host: str = "192.0.2.7") -> Lac:
    """A LAC that asks for a tunnel and then says nothing."""
    lac = Lac(world, (host, port))
    lac.silent = True
    lac.send(SCCRQ, REQUEST)
    return lac


def open_port(world: World, port: int) -> Lac:
    return Lac(world, ("192.0.2.7", port)).open()


def tunnels_up(world: World) -> int:
    return sum(
        tunnel.state.value == "established" for tunnel in world.lns.endpoint.tunnels.values()
    )


def test_l2tp_receive_window() -> None:
    lac = Lac(World(l2tp_receive_window=17)).open()
    (answer,) = [avps for kind, _, avps in lac.messages if kind == SCCRP]
    assert answer[10] == b"\0\x11"


@pytest.mark.parametrize(
    ("secret", "wanted", "is_hidden"),
    [("s3cret", True, True), ("s3cret", False, False), ("", True, False)],
)
def test_l2tp_hide_avps(secret: str, wanted: bool, is_hidden: bool) -> None:
    """Our session id is hidden, which takes a secret and a random vector (RFC 2661 section 4.3)."""
    world = World(l2tp_secret=secret, l2tp_hide_avps=wanted)
    lac = Lac(world).open()
    world.plane.take_control()
    lac.send(ICRQ, avp(14, b"\0\7") + avp(15, bytes(4)))
    (icrp,) = (sent.datagram for sent in world.plane.take_control() if len(sent.datagram) > 12)
    flags = avp_flags(icrp)
    assert (flags[ASSIGNED_SESSION_ID] & HIDDEN != 0) is is_hidden
    assert (RANDOM_VECTOR in flags) is is_hidden


def avp_flags(datagram: bytes) -> dict[int, int]:
    """The flags and the length of each AVP of a message."""
    found: dict[int, int] = {}
    body = datagram[12:]
    while body:
        flags, _vendor, kind = struct.unpack_from("!3H", body)
        found[kind] = flags
        body = body[flags & 0x3FF :]
    return found


@pytest.mark.parametrize(
    ("directives", "lasts_s"),
    [
        ({"l2tp_retransmit_timeout": 1, "l2tp_max_retransmits": 2}, 7),
        ({"l2tp_retransmit_timeout": 1, "l2tp_max_retransmits": 4}, 23),
        ({"l2tp_retransmit_timeout": 4, "l2tp_max_retransmits": 2}, 20),
    ],
)
def test_l2tp_retransmits(directives: dict[str, object], lasts_s: int) -> None:
    """A tunnel whose LAC is silent ends after 1 + 2 + 4 seconds, and so on."""
    world = World(**directives)
    half_open(world)
    world.run(lasts_s - 0.5)
    assert world.lns.counters.tunnel_timeout == 0
    world.run(1.0)
    assert world.lns.counters.tunnel_timeout == 1


@pytest.mark.parametrize(
    ("directives", "hellos"),
    [
        ({"hello_interval": 60}, 5),
        ({"hello_interval": 20}, 15),
        ({"hello_interval": 0}, 0),
        ({"hello_interval": 20, "disable_sending_hello": True}, 0),
    ],
)
def test_hello(directives: dict[str, object], hellos: int) -> None:
    world = World(**directives)
    lac = Lac(world).open()
    world.run(301)
    assert lac.kinds().count(HELLO) == hellos


def test_max_tunnels() -> None:
    world = World(max_tunnels=2)
    lacs = [open_port(world, port) for port in (1, 2, 3)]
    assert tunnels_up(world) == 2
    assert STOPCCN in lacs[2].kinds()


def test_max_half_open() -> None:
    world = World(max_half_open=2, max_half_open_per_source=9)
    for host in range(1, 6):
        half_open(world, host=f"192.0.2.{host}")
    assert world.lns.endpoint.counters.refused_limit == 3


def test_max_half_open_per_source() -> None:
    world = World(max_half_open_per_source=2)
    for port in range(1, 6):
        half_open(world, port)
    half_open(world, host="192.0.2.8")
    assert world.lns.endpoint.counters.refused_limit == 3


@pytest.mark.parametrize(("mtu", "mru"), [(1500, 1462), (1400, 1362), (2000, 1492)])
def test_l2tp_mtu(mtu: int, mru: int) -> None:
    client = Lac(World(l2tp_mtu=mtu)).open().call()
    request = codes(client, CONFIGURE_REQUEST)[0]
    assert b"\x01\x04" + struct.pack("!H", mru) in request


@pytest.mark.parametrize(
    ("directives", "times", "tries"),
    [
        ({"ppp_restart_time": 3, "ppp_max_configure": 10}, 9.5, 4),
        ({"ppp_restart_time": 1, "ppp_max_configure": 10}, 9.5, 10),
        ({"ppp_restart_time": 1, "ppp_max_configure": 3}, 9.5, 3),
    ],
)
def test_configure_requests(directives: dict[str, object], times: float, tries: int) -> None:
    """A client that says nothing is asked again and again, and then given up."""
    world = World(ppp_login_timeout=300, **directives)
    lac = Lac(world).open()
    client = lac.call(connect=False)
    client.silent = True
    lac.send(12, avp(24, bytes(4)) + avp(19, struct.pack("!I", 1)), client.session_id)
    world.run(times)
    assert len(codes(client, CONFIGURE_REQUEST)) == tries


@pytest.mark.parametrize("most", [2, 5])
def test_ppp_max_failure(most: int) -> None:
    """A client that insists on a value is told another so often, and then refused."""
    client = Lac(World(ppp_max_failure=most)).open().call()
    client.send(LCP, CONFIGURE_REQUEST, 39, b"\x01\x04\x00\x10")  # begins a new negotiation
    client.lac.world.run()
    client.frames.clear()
    for identifier in range(40, 40 + most + 2):
        client.send(LCP, CONFIGURE_REQUEST, identifier, b"\x01\x04\x00\x10")  # an MRU of 16
        client.lac.world.run()
    assert len(codes(client, CONFIGURE_NAK)) == most
    assert len(codes(client, CONFIGURE_REJECT)) == 2


@pytest.mark.parametrize("most", [1, 3])
def test_ppp_max_terminate(most: int) -> None:
    world = World(ppp_max_terminate=most, ppp_restart_time=1)
    client = Lac(world).open().call()
    client.silent = True
    session = world.lns.sessions[client.key]
    world.lns.drop_session(session, "by the test")
    world.run(30)
    assert len(codes(client, TERMINATE_REQUEST)) == most


@pytest.mark.parametrize("limit", [10, 60])
def test_ppp_login_timeout(limit: int) -> None:
    """A client that negotiates but never logs in is ended."""
    world = World(ppp_login_timeout=limit)
    lac = Lac(world).open()
    client = lac.call(connect=False)
    client.login = lambda: None  # type: ignore[method-assign]
    lac.send(12, avp(24, bytes(4)) + avp(19, struct.pack("!I", 1)), client.session_id)
    client.send(LCP, CONFIGURE_REQUEST, 1, bytes([5, 6]) + b"abcd")
    world.run(limit - 1)
    assert CDN not in lac.kinds()
    world.run(15)
    assert CDN in lac.kinds()


@pytest.mark.parametrize("timeout", [10, 30])
def test_echo_timeout(timeout: int) -> None:
    """A silent line is asked after this time, up to a quarter later, and again and again."""
    world = World(echo_timeout=timeout, idle_echo_timeout=0)
    client = Lac(world).open().call()
    world.run(timeout - 1)
    assert not codes(client, ECHO_REQUEST)
    world.run(2 * timeout)
    known = len(codes(client, ECHO_REQUEST))
    world.run(100 * timeout)
    assert 80 <= len(codes(client, ECHO_REQUEST)) - known <= 100
    assert client.up


def test_echo_timeout_of_zero_asks_nobody() -> None:
    client = Lac(World(echo_timeout=0)).open().call()
    client.lac.world.run(200)
    assert not codes(client, ECHO_REQUEST)


@pytest.mark.parametrize(
    ("directives", "echoes"),
    [
        ({}, 2),
        ({"line_quality_interval": 60}, 5),
        ({"line_quality_interval": 0}, 0),
        ({"ppp_keepalive": False}, 30),
    ],
)
def test_echoes_on_a_busy_line(directives: dict[str, object], echoes: int) -> None:
    world = World(echo_timeout=10, **directives)
    client = Lac(world).open().call()
    for _ in range(300):
        world.run(1)
        world.plane.set_usage(client.key, SessionCounters(heard_at=world.now, data_at=world.now))
    assert len(codes(client, ECHO_REQUEST)) == pytest.approx(echoes, abs=1 if echoes else 0)


@pytest.mark.parametrize("interval", [10, 100])
def test_cleanup_interval(interval: int) -> None:
    """A session whose tunnel vanished without a word is found in the next pass."""
    world = World(cleanup_interval=interval)
    world.lns.cleanup.start(world.now)
    client = Lac(world).open().call()
    world.lns.has_tunnel = lambda tunnel_id: False  # type: ignore[method-assign]
    world.run(interval - 1)
    assert client.key in world.lns.sessions
    world.run(2)
    assert client.key not in world.lns.sessions


@pytest.mark.parametrize(("before", "after"), [(86_400, 10), (10, 100)])
def test_cleanup_interval_changes_at_once(before: int, after: int) -> None:
    """Not after the interval that it had."""
    world = World(cleanup_interval=before)
    world.lns.cleanup.start(world.now)
    client = Lac(world).open().call()
    world.lns.has_tunnel = lambda tunnel_id: False  # type: ignore[method-assign]
    world.lns.configure(replace(world.config, cleanup_interval=after))
    world.run(after - 1)
    assert client.key in world.lns.sessions
    world.run(2)
    assert client.key not in world.lns.sessions


def test_another_change_does_not_put_the_cleanup_off() -> None:
    world = World(cleanup_interval=10)
    world.lns.cleanup.start(world.now)
    client = Lac(world).open().call()
    world.lns.has_tunnel = lambda tunnel_id: False  # type: ignore[method-assign]
    for number in range(1, 6):
        world.run(3)
        world.lns.configure(replace(world.config, max_tunnels=number))
    assert client.key not in world.lns.sessions


def test_kill_timedout_sessions_no() -> None:
    """A Session-Timeout of 0 is then no limit at all."""
    world = World(kill_timedout_sessions=False)
    world.radius.policy = lambda request: AccessReply(AccessOutcome.ACCEPT, session_timeout=0)
    client = Lac(world).open().call()
    world.run(1000)
    assert client.up
    assert client.refused == b""


def test_peer_address() -> None:
    """Our side of the PPP link, as the client is told by IPCP."""
    client = Lac(World(peer_address=ip("192.0.2.99"))).open().call()
    request = codes(client, CONFIGURE_REQUEST, 0x8021)[0]
    assert struct.pack("!BBI", 3, 6, ip("192.0.2.99")) in request
