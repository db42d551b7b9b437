"""What Prometheus and an operator see of a running daemon: metrics, and the quality of lines."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from integration.daemon.stage import Stage, ping, soon, until
from l2tpns_core.lab import RadiusUser
from l2tpns_core.metrics.endpoint import MAX_CLIENTS
from l2tpns_core.metrics.reference import metric_names

pytestmark = [pytest.mark.daemon, pytest.mark.netns]
NEIGHBOURS = ("l2tpns_cluster_", "l2tpns_bgp_")
"""What a server has that stands alone and speaks to no router: none of these."""

PORT = 9729
USERS = {
    "user*": RadiusUser("password"),
    "slow": RadiusUser("password", {"Cisco-AVPair": ["throttle=yes"]}),
}


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    directives = {"metrics_port": PORT, "echo_timeout": 1, "ppp_keepalive": "no"}
    tail = "load plugin autothrottle\nset throttle_speed 1000\n"
    with Stage(tmp_path, USERS, tail=tail, **directives) as stage:
        yield stage


class Scrape:
    """One answer of the endpoint."""

    def __init__(self, text: str) -> None:
        families = text_string_to_metric_families(text)
        self.samples = [sample for family in families for sample in family.samples]

    def value(self, name: str, **labels: str) -> float:
        (found,) = [
            sample.value
            for sample in self.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        ]
        return found

    @property
    def names(self) -> set[str]:
        return {sample.name for sample in self.samples}


def connect(stage: Stage) -> socket.socket:
    made: socket.socket = stage.site.lns.call(socket.create_connection, ("127.0.0.1", PORT), 10)
    return made


def fetch(stage: Stage, request: bytes = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n") -> str:
    with connect(stage) as connection:
        connection.sendall(request)
        answer = b""
        while more := connection.recv(65_536):
            answer += more
    return answer.decode()


def scrape(stage: Stage) -> Scrape:
    head, _, body = fetch(stage).partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 200 OK\r\n")
    assert f"Content-Length: {len(body.encode())}\r\n" in head + "\r\n"
    return Scrape(body)


async def scraped(stage: Stage) -> Scrape:
    return await asyncio.to_thread(scrape, stage)


def test_the_metrics_are_what_happened(stage: Stage) -> None:
    async def act(stage: Stage) -> None:
        before = await scraped(stage)
        assert before.value("l2tpns_sessions", state="network") == 0
        client = await stage.log_in("user1")
        await stage.log_in("slow")
        refused = stage.call("user2", password="wrong")
        await soon(refused.down)
        for _ in range(5):
            await ping(client)
        client.send_ip(bytes.fromhex("4500001c00000000401100007f0000017f000001") + bytes(8))
        spoofed = {"direction": "up", "reason": "source_spoofed"}
        drops = "l2tpns_dataplane_drops_total"
        await until(lambda: scrape(stage).value(drops, **spoofed), "no drop")
        now = await scraped(stage)
        assert now.value("l2tpns_sessions", state="network") == 2
        assert now.value("l2tpns_sessions_treated", how="throttled") == 1
        assert now.value("l2tpns_tunnels", state="established") == 1
        assert now.value("l2tpns_pool_addresses", state="used") == 2
        assert now.value("l2tpns_lns_login_accepted_total") == 2
        assert now.value("l2tpns_lns_login_refused_total") == 1
        assert now.value("l2tpns_traffic_packets_total", direction="up") >= 5
        assert now.value("l2tpns_traffic_packets_total", direction="down") >= 5
        assert now.value(drops, **spoofed) == 1
        assert now.value("l2tpns_login_refusals_total", reason="rejected") == 1
        assert now.value("l2tpns_login_refusals_total", reason="plugin") == 0
        assert now.value("l2tpns_session_ends_total", cause="user_error") == 1
        assert now.value("l2tpns_session_ends_total", cause="lost_carrier") == 0
        access, accounting = "auth", "acct"
        assert now.value("l2tpns_radius_server_requests_total", purpose=access) == 3
        assert now.value("l2tpns_radius_server_replies_total", purpose=access) == 3
        assert now.value("l2tpns_radius_server_timeouts_total", purpose=access) == 0
        assert now.value("l2tpns_radius_reply_seconds_count", purpose=access) == 3
        assert now.value("l2tpns_radius_reply_seconds_count", purpose=accounting) >= 2
        assert now.value("l2tpns_radius_server_up", purpose=access) == 1
        assert now.value("l2tpns_loop_lag_seconds_count") > 0
        hook = {"plugin": "autothrottle", "event": "radius_response"}
        assert now.value("l2tpns_plugin_calls_total", **hook) >= 1
        assert now.value("l2tpns_plugin_seconds_total", **hook) > 0
        assert now.value("process_resident_memory_bytes") > 1 << 20
        missing = {name for name in metric_names() if not name.startswith(NEIGHBOURS)} - now.names
        assert missing <= {"l2tpns_dataplane_punts_total"}

    stage.play(act)


def test_a_silent_lac_is_seen_in_retransmissions(stage: Stage) -> None:
    async def act(stage: Stage) -> None:
        await stage.log_in("user1")
        name = "l2tpns_l2tp_retransmissions_total"
        assert (await scraped(stage)).value(name) == 0
        stage.tunnel.vanish()
        await stage.command("drop user user1")
        await until(lambda: scrape(stage).value(name) > 0, "nothing is sent again")

    stage.play(act)


def test_the_quality_of_lines(stage: Stage) -> None:
    async def act(stage: Stage) -> None:
        good, bad = await stage.log_in("user1"), await stage.log_in("user2")
        bad.ppp.answer_echo = False
        await until(lambda: (quality(stage, "user1") or {}).get("echoes", 0) >= 3, "no echoes")
        await until(lambda: (quality(stage, "user2") or {}).get("lost", 0) >= 2, "no loss")
        found = quality(stage, "user1")
        assert found["lost"] == 0
        assert 0 < found["min_s"] <= found["median_s"] <= found["max_s"] < 5
        number = stage.session_of("user2")["session_id"]
        text = await stage.command(f"show session {number}")
        assert "of the last" in text.partition("Lost:")[2], text
        now = await scraped(stage)
        assert now.value("l2tpns_line_loss_ratio_count") == 2
        assert now.value("l2tpns_line_loss_ratio_bucket", le="0.0") == 1
        assert now.value("l2tpns_line_round_trip_seconds_bucket", le="+Inf") in (1, 2)
        assert not good.down.done()

    stage.play(act)


def quality(stage: Stage, user: str) -> dict[str, float]:
    found: dict[str, float] = stage.session_of(user)["line_quality"] or {}
    return found


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.0\r\n\r\n", "200 OK"),
        (b"HEAD /metrics HTTP/1.1\r\n\r\n", "200 OK"),
        (b"GET /metrics?x=1 HTTP/1.1\r\nAccept: application/openmetrics-text\r\n\r\n", "200 OK"),
        (b"GET /other HTTP/1.1\r\n\r\n", "404 Not Found"),
        (b"POST /metrics HTTP/1.1\r\n\r\n", "405 Method Not Allowed"),
        (b"\xff\r\n\r\n", "405 Method Not Allowed"),
        (b"GET /" + 9000 * b"x", "431 Request Header Fields Too Large"),
    ],
)
def test_requests_of_all_kinds(stage: Stage, request_: bytes, status: str) -> None:
    answer = fetch(stage, request_)
    assert answer.startswith(f"HTTP/1.1 {status}\r\n")
    if request_.startswith(b"HEAD"):
        assert answer.endswith("\r\n\r\n")
    if b"openmetrics" in request_:
        assert answer.endswith("# EOF\n")


def test_clients_who_never_ask_keep_nobody_out(stage: Stage) -> None:
    async def act(stage: Stage) -> None:
        client = await stage.log_in("user1")
        idle = [connect(stage) for _ in range(MAX_CLIENTS + 1)]
        await until(lambda: is_closed(idle[0]), "one too many was let in")
        await scraped(stage)
        await ping(client, once=True)
        for connection in idle:
            connection.close()

    stage.play(act)


def test_clients_who_ask_and_never_read_keep_nobody_out(stage: Stage) -> None:
    async def act(stage: Stage) -> None:
        client = await stage.log_in("user1")
        deaf = [connect(stage) for _ in range(2 * MAX_CLIENTS)]
        for connection in deaf:
            with contextlib.suppress(ConnectionError):
                connection.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        await scraped(stage)
        await ping(client, once=True)
        for connection in deaf:
            connection.close()

    stage.play(act)


def test_what_clients_accept_is_not_believed(stage: Stage) -> None:
    for accept in ("text/plain; version=x", "application/openmetrics-text; version=\xff"):
        request = f"GET /metrics HTTP/1.1\r\nAccept: {accept}\r\n\r\n"
        assert fetch(stage, request.encode("latin-1")).startswith("HTTP/1.1 200 OK\r\n")


def is_closed(connection: socket.socket) -> bool:
    connection.settimeout(0.05)
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


def test_the_endpoint_comes_and_goes_with_a_reload(stage: Stage) -> None:
    async def act(stage: Stage) -> None:
        stage.site.write_config(metrics_port=0)
        await stage.reload()
        await until(lambda: is_refused(stage), "it still listens")
        stage.site.write_config(metrics_port=PORT)
        await stage.reload()
        await until(lambda: not is_refused(stage), "it does not listen")
        await scraped(stage)

    stage.play(act)


def is_refused(stage: Stage) -> bool:
    try:
        connect(stage).close()
    except ConnectionRefusedError:
        return True
    return False
