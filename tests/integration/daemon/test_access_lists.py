"""Access lists of a real daemon: by Filter-Id, by the operator, and changed under live sessions."""

import asyncio
from collections.abc import Iterator

import pytest

from integration.daemon.stage import PASSWORD, Stage, ping, scene
from l2tpns_core.lab import Client, RadiusUser
from support.site import HOST_ADDRESS

pytestmark = [pytest.mark.daemon, pytest.mark.netns]

LISTS = f"""
ip access-list extended closed
 permit udp any any
 deny ip any any
ip access-list extended open
 deny tcp any any eq 25
 permit ip any host {HOST_ADDRESS}
ip access-list standard home
 permit host {HOST_ADDRESS}
"""
OPENED = """
ip access-list extended closed
 permit ip any any
 deny ip any any
"""
QUIET_S = 0.4
"""How long nothing may come back where nothing is to pass; answers take a few milliseconds."""
USERS = {
    "user*": RadiusUser(PASSWORD),
    "closed*": RadiusUser(PASSWORD, reply={"Filter-Id": ["closed.in"]}),
    "both*": RadiusUser(PASSWORD, reply={"Filter-Id": ["open.in", "home.out"]}),
    "deaf*": RadiusUser(PASSWORD, reply={"Filter-Id": ["closed.out"]}),
    "lost*": RadiusUser(PASSWORD, reply={"Filter-Id": ["nosuch.in", "closed", "home.out"]}),
}


@pytest.fixture
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Stage(tmp_path_factory.mktemp("lists"), USERS, tail=LISTS) as running:
        yield running


async def is_silent(client: Client) -> bool:
    """Whether a ping is not answered."""
    known = client.echo_replies
    client.ping(HOST_ADDRESS, 64)
    await asyncio.sleep(QUIET_S)
    return client.echo_replies == known


def matches(stage: Stage, name: str) -> list[int]:
    (shown,) = stage.ask(f"show access-list {name}")
    return [rule["matches"] for rule in shown["rules"]]


@scene
async def test_filter_id_decides_what_passes(stage: Stage) -> None:
    closed, both, deaf = [await stage.log_in(user) for user in ("closed", "both", "deaf")]
    free = await stage.log_in("user-free")
    await ping(free)
    await ping(both)
    assert await is_silent(closed)
    assert await is_silent(deaf)
    assert matches(stage, "closed") == [0, 2]
    assert matches(stage, "open") == [0, 1]
    assert matches(stage, "home") == [1]
    counters = stage.ask("show counters")["counters"]["plane"]
    assert (counters["filter_drops_in"], counters["filter_drops_out"]) == (1, 1)
    shown = stage.session_of("both")
    assert (shown["filter_in"], shown["filter_out"]) == ("open", "home")


@scene
async def test_an_unknown_list_is_logged_and_filters_nothing(stage: Stage) -> None:
    lost = await stage.log_in("lost")
    await ping(lost)
    shown = stage.session_of("lost")
    assert (shown["filter_in"], shown["filter_out"]) == ("", "home")
    assert "Filter-Id 'nosuch.in': access-list not defined" in stage.site.log()
    assert "Filter-Id 'closed' is neither NAME.in nor NAME.out" in stage.site.log()


@scene
async def test_the_operator_filters_and_lets_go(stage: Stage) -> None:
    user = await stage.log_in("user-one")
    await ping(user)
    assert await stage.command("filter user-one in closed") == "Filtering user user-one\n"
    assert await is_silent(user)
    session = stage.session_of("user-one")["session_id"]
    details = await stage.command(f"show session {session}")
    assert "\tFilter in:\tclosed\n" in details
    text = await stage.command("no filter user-one in")
    assert text == "Removing filters from user user-one\n"
    await ping(user)


@scene
async def test_rules_are_written_and_changed_in_the_shell(stage: Stage) -> None:
    closed = await stage.log_in("closed")
    assert await is_silent(closed)
    written = await stage.command(
        "configure terminal",
        "ip access-list extended mine",
        f"deny tcp any host {HOST_ADDRESS} range 1 1023 established",
        "permit ip any any",
        "exit",
        "exit",
        "show access-list mine",
    )
    assert written.splitlines() == [
        "Extended IP access list mine",
        f" deny tcp any host {HOST_ADDRESS} range 1 1023 established",
        " permit ip any any",
    ]
    assert "ip access-list extended mine\n deny tcp any" in await stage.command("show run")
    await stage.command("no filter closed", "filter closed in mine")
    await ping(closed)
    assert matches(stage, "mine") == [0, 1]


@scene
async def test_a_reload_changes_the_rules_of_live_sessions(stage: Stage) -> None:
    closed = await stage.log_in("closed")
    assert await is_silent(closed)
    stage.site.tail = OPENED
    stage.site.write_config()
    await stage.reload()
    assert matches(stage, "closed") == [0, 1]
    await ping(closed)
    assert matches(stage, "closed") == [1, 1]
    stage.site.tail = ""
    stage.site.write_config()
    await stage.reload()
    assert "access-list closed stays as it is: Access-list in use" in stage.site.log()
    await ping(closed)
    assert matches(stage, "closed") == [2, 1]
