"""Every way a session can end, with what each party is really told.

A daemon whose timers are short serves all scenes: client, LAC, RADIUS and operator look on.
"""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from integration.daemon.stage import (
    PASSWORD,
    Stage,
    assert_terminated,
    disconnect_code,
    down,
    ping,
    scene,
    soon,
)
from l2tpns_core.lab import RadiusUser

pytestmark = [pytest.mark.daemon, pytest.mark.netns, pytest.mark.slow]

POOL_SIZE = 3
USERS = {
    "user*": RadiusUser(PASSWORD),
    "locked": RadiusUser(PASSWORD, {"Reply-Message": ["your account is locked"]}, reject=True),
    "brief": RadiusUser(PASSWORD, {"Session-Timeout": [2]}),
    "idler": RadiusUser(PASSWORD, {"Idle-Timeout": [2]}),
    "static-*": RadiusUser(PASSWORD, {"Framed-IP-Address": ["203.0.113.9"]}),
    "spent": RadiusUser(PASSWORD, {"Session-Timeout": [0]}),
}
AUTH_FAILED, LCP_ECHO_TIMEOUT, NORMAL = 16, 8, 3
"""Codes of RFC 3145."""


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    directives: dict[str, Any] = {
        "radius_authtypes": "chap,pap",
        "radius_timeout": 1,
        "radius_tries": 1,
        "l2tp_retransmit_timeout": 1,
        "l2tp_max_retransmits": 1,
        "hello_interval": 1,
        "echo_timeout": 1,
        "idle_echo_timeout": 6,
        "ppp_restart_time": 1,
    }
    pool = "".join(f"10.64.0.{host}\n" for host in range(1, POOL_SIZE + 1))
    with Stage(tmp_path_factory.mktemp("endings"), USERS, pool, **directives) as running:
        yield running


@pytest.mark.parametrize("auth", ["pap", "chap"])
@pytest.mark.parametrize(
    ("user", "password"), [("user-wrong", "not the password"), ("stranger", PASSWORD)]
)
@scene
async def test_wrong_password_and_unknown_user(
    stage: Stage, user: str, password: str, auth: str
) -> None:
    client = stage.call(user, password, auth)
    end = await down(client, 3, 0, "login refused")
    assert disconnect_code(end) == AUTH_FAILED
    assert client.ppp.refused
    assert_terminated(client)
    assert stage.site.radius.requests[-1]["User-Name"] == user
    assert not stage.site.radius.requests[-1].accepted
    stage.assert_no_accounting(user)


@pytest.mark.parametrize("auth", ["pap", "chap"])
@scene
async def test_reject_with_a_reply_message(stage: Stage, auth: str) -> None:
    client = stage.call("locked", auth=auth)
    end = await down(client, 3, 0, "login refused")
    assert disconnect_code(end) == AUTH_FAILED
    assert client.ppp.refused
    assert client.ppp.auth_message == b"your account is locked"
    assert_terminated(client)
    stage.assert_no_accounting("locked")


@scene
async def test_silent_radius(stage: Stage) -> None:
    stage.site.radius.silent = True
    try:
        client = stage.call("user-silent")
        await down(client, 4, 0, "RADIUS timeout")
    finally:
        stage.site.radius.silent = False
    assert client.ppp.refused
    assert client.ppp.auth_message == b"authentication is not available"
    assert_terminated(client)
    stage.assert_no_accounting("user-silent")
    again = await stage.log_in("user-silent")
    again.hangup()
    await stage.stop_of("user-silent", "User-Request")


@scene
async def test_exhausted_pool(stage: Stage) -> None:
    holders = [await stage.log_in(f"user-pool{number}") for number in range(POOL_SIZE)]
    late = stage.call("user-late")
    await down(late, 2, 7, "No IP address available")
    assert late.ppp.refused
    assert_terminated(late)
    stage.assert_no_accounting("user-late")
    assert all(client.is_up for client in holders)
    holders[0].hangup()
    await stage.stop_of("user-pool0", "User-Request")
    assert await soon(stage.call("user-late").up) == holders[0].ip
    for client in holders[1:]:
        client.hangup()
    await stage.site.radius.wait_for_records("Start", "user-late")


@scene
async def test_session_timeout_of_zero(stage: Stage) -> None:
    client = stage.call("spent")
    await down(client, 3, 0, "Session-Timeout is 0")
    assert client.ppp.refused
    assert_terminated(client)
    stage.assert_no_accounting("spent")


@scene
async def test_vanished_lac(stage: Stage) -> None:
    for user in ("user-lac1", "user-lac2"):
        await stage.log_in(user)
    tunnel_id = stage.session_of("user-lac1")["tunnel_id"]
    stage.tunnel.vanish()
    for user in ("user-lac1", "user-lac2"):
        await stage.stop_of(user, "Lost-Carrier")
    states = [row["state"] for row in stage.ask("show tunnels") if row["tunnel_id"] == tunnel_id]
    assert "established" not in states


@scene
async def test_vanished_client(stage: Stage) -> None:
    client = await stage.log_in("user-gone")
    bystander = await stage.log_in("user-here")
    client.vanish()
    end = await down(client, 3, 0, "no frame from the peer")
    assert disconnect_code(end) == LCP_ECHO_TIMEOUT
    await stage.stop_of("user-gone", "Lost-Service")
    assert bystander.is_up
    bystander.hangup()


@scene
async def test_client_hangs_up(stage: Stage) -> None:
    client = await stage.log_in("user-bye")
    client.hangup("ppp")
    end = await down(client, 3, 0, "peer terminated the link")
    assert disconnect_code(end) == NORMAL
    await stage.stop_of("user-bye", "User-Request")


@scene
async def test_lac_disconnects_the_call(stage: Stage) -> None:
    client = await stage.log_in("user-cdn")
    client.disconnect(1, text="carrier lost")
    await stage.stop_of("user-cdn", "Lost-Carrier")
    assert not stage.tunnel.results


@scene
async def test_lac_stops_the_tunnel(stage: Stage) -> None:
    await stage.log_in("user-stopccn")
    stage.tunnel.close()
    await soon(stage.tunnel.closed)
    await stage.stop_of("user-stopccn", "Lost-Service")
    assert not stage.tunnel.results


@scene
async def test_second_login_replaces_the_first(stage: Stage) -> None:
    first = await stage.log_in("user-twice")
    second = await stage.log_in("user-twice")
    await down(first, 3, 0, "Duplicate session for user")
    assert_terminated(first)
    (stop,) = await stage.site.radius.wait_for_records("Stop", "user-twice")
    starts = stage.site.radius.records("Start", "user-twice")
    assert stop["Acct-Session-Id"] == starts[0]["Acct-Session-Id"]
    assert stop["Acct-Terminate-Cause"] == "Admin-Reset"
    assert second.is_up
    assert stage.session_of("user-twice")["accounting_id"] == starts[1]["Acct-Session-Id"]
    assert stage.ask("show pool")["used"] == 1


@scene
async def test_second_login_is_refused_when_so_configured(stage: Stage) -> None:
    await stage.command("configure terminal", "set duplicate_login refuse")
    try:
        first = await stage.log_in("user-once")
        second = stage.call("user-once")
        await down(second, 3, 0, "User is logged in already")
    finally:
        await stage.command("configure terminal", "set duplicate_login replace")
    assert second.ppp.refused
    assert_terminated(second)
    assert first.is_up
    assert len(stage.site.radius.records(user="user-once")) == 1
    first.hangup()
    await stage.stop_of("user-once", "User-Request")


@scene
async def test_second_holder_of_an_address_replaces_the_first(stage: Stage) -> None:
    first = await stage.log_in("static-a")
    second = await stage.log_in("static-b")
    await down(first, 3, 0, "Duplicate IP address")
    assert_terminated(first)
    await stage.stop_of("static-a", "Admin-Reset")
    assert second.ip == "203.0.113.9"
    await ping(second)


@scene
async def test_session_timeout(stage: Stage) -> None:
    began = time.monotonic()
    client = await stage.log_in("brief")
    await down(client, 3, 0, "Session timeout")
    assert 1.9 < time.monotonic() - began < 8
    assert_terminated(client)
    stop = await stage.stop_of("brief", "Session-Timeout")
    assert stop["Acct-Session-Time"] in (2, 3)


@scene
async def test_idle_timeout(stage: Stage) -> None:
    """Echoes of LCP, of which there are some here, are not traffic; packets are."""
    client = await stage.log_in("idler")
    began = time.monotonic()
    while time.monotonic() - began < 2.5:
        await ping(client)
    assert client.is_up
    last = time.monotonic()
    await down(client, 3, 0, "Idle timeout reached")
    assert 1.9 < time.monotonic() - last < 8
    assert_terminated(client)
    await stage.stop_of("idler", "Idle-Timeout")


@scene
async def test_operator_drops_a_session(stage: Stage) -> None:
    client = await stage.log_in("user-admin1")
    row = stage.session_of("user-admin1")
    output = await stage.command(f"drop session {row['tunnel_id']}/{row['session_id']}")
    assert f"Dropping session {row['session_id']}" in output
    await down(client, 3, 0, "dropped by the operator")
    assert_terminated(client)
    await stage.stop_of("user-admin1", "Admin-Reset")
    assert stage.tunnel.end is None


@scene
async def test_operator_drops_a_user(stage: Stage) -> None:
    client, other = await stage.log_in("user-admin2"), await stage.log_in("user-admin3")
    assert "Dropping user user-admin2" in await stage.command("drop user user-admin2")
    await down(client, 3, 0, "dropped by the operator")
    assert_terminated(client)
    await stage.stop_of("user-admin2", "Admin-Reset")
    assert other.is_up
    other.hangup()


@scene
async def test_operator_drops_a_tunnel(stage: Stage) -> None:
    clients = [await stage.log_in(f"user-tunnel{number}") for number in (1, 2)]
    tunnel_id = stage.session_of("user-tunnel1")["tunnel_id"]
    assert f"Tunnel {tunnel_id} shut down (lab-lac)" in await stage.command(
        f"drop tunnel {tunnel_id}"
    )
    for client in clients:
        await down(client, 3, 0, "dropped by the operator")
        assert_terminated(client)
    end = await soon(stage.tunnel.closed)
    assert (end.by, end.result, end.text) == ("StopCCN", 1, "dropped by the operator")
    for number in (1, 2):
        await stage.stop_of(f"user-tunnel{number}", "Admin-Reset")


@scene
async def test_operator_drops_a_session_whose_client_is_silent(stage: Stage) -> None:
    """Nobody acknowledges the Terminate-Request; the session ends all the same."""
    client = await stage.log_in("user-deaf")
    client.vanish()
    await stage.command("drop user user-deaf")
    await down(client, 3, 0, "dropped by the operator")
    await stage.stop_of("user-deaf", "Admin-Reset")
