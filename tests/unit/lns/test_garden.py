"""What entering and leaving the walled garden does to a session, apart from any plugin."""

import pytest

from l2tpns_core.dataplane.plane import SessionCounters
from l2tpns_core.radius.model import AccountingStatus
from l2tpns_core.session import Session, SessionState
from support.memory import Client, Lac, World, ip

START, STOP = AccountingStatus.START, AccountingStatus.STOP


class Scene:
    def __init__(self) -> None:
        self.world = World()
        self.lac = Lac(self.world).open()
        self.client: Client = self.lac.call()
        self.session: Session = self.world.lns.sessions[self.client.key]

    def use(self, octets_in: int, octets_out: int) -> None:
        usage = SessionCounters(octets_in, octets_out, octets_in // 100, octets_out // 100)
        self.world.plane.set_usage(self.session.key, usage)

    def records(self) -> list[tuple[str, str, int]]:
        """Accounting as (what, user, octets from the user)."""
        return [
            (
                record.status.name,
                record.identity.user,
                record.usage.octets_in if record.usage else 0,
            )
            for record in self.world.radius.records
            if record.identity is not None
        ]


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_entering_ends_the_accounting_with_what_was_used(scene: Scene) -> None:
    scene.use(700, 900)
    scene.world.lns.set_garden(scene.session, True)
    assert scene.records() == [("START", "alice", 0), ("STOP", "alice", 700)]
    assert scene.world.lns.sessions_of_user("alice") == []
    assert scene.world.lns.session_by_ip(ip("10.0.0.1")) is scene.session


def test_leaving_starts_it_anew_from_zero_under_another_id_and_name(scene: Scene) -> None:
    lns = scene.world.lns
    scene.use(700, 900)
    lns.set_garden(scene.session, True)
    scene.use(1_700, 1_900)
    lns.set_garden(scene.session, False, "bob")
    assert lns.usage(scene.session)[:4] == (0, 0, 0, 0)
    scene.use(2_000, 1_900)
    lns.kill_session(scene.session, "over")
    scene.world.run()
    assert scene.records() == [
        ("START", "alice", 0),
        ("STOP", "alice", 700),
        ("START", "bob", 0),
        ("STOP", "bob", 300),
    ]
    first, second = (record.identity for record in scene.world.radius.of(START))
    assert first is not None
    assert second is not None
    assert first.accounting_id != second.accounting_id
    assert lns.sessions_of_user("bob") == []


def test_leaving_ends_another_session_of_the_user(scene: Scene) -> None:
    lns = scene.world.lns
    lns.set_garden(scene.session, True)
    second = scene.lac.call()
    assert second.up
    lns.set_garden(scene.session, False)
    scene.world.run()
    assert list(lns.sessions) == [scene.session.key]
    assert lns.sessions_of_user("alice") == [scene.session]


def test_twice_is_once(scene: Scene) -> None:
    for trapped in (True, True, False, False):
        scene.world.lns.set_garden(scene.session, trapped)
    assert [what for what, _, _ in scene.records()] == ["START", "STOP", "START"]


def test_a_session_that_is_going_gets_no_new_life(scene: Scene) -> None:
    lns = scene.world.lns
    lns.set_garden(scene.session, True)
    scene.client.silent = True
    lns.drop_session(scene.session, "moved out")
    assert scene.session.state is SessionState.CLOSING
    second = scene.lac.call()
    lns.set_garden(scene.session, False)
    scene.world.run(30.0)
    assert second.up
    assert list(lns.sessions) == [second.key]
    assert [what for what, _, _ in scene.records()] == ["START", "STOP", "START"]


def test_a_session_that_has_ended_is_left_alone(scene: Scene) -> None:
    lns = scene.world.lns
    lns.kill_session(scene.session, "over")
    lns.set_garden(scene.session, True)
    lns.set_garden(scene.session, False)
    assert [what for what, _, _ in scene.records()] == ["START", "STOP"]
    assert len(scene.world.radius.of(STOP)) == 1


@pytest.mark.parametrize("text", ["000000012", "1/000000012"])
def test_an_id_with_many_zeros_is_that_id(text: str) -> None:
    scene = Scene()
    with pytest.raises(LookupError, match="is not active"):
        scene.world.lns.find_session(text)
    number = scene.session.session_id
    assert scene.world.lns.find_session(f"0000000{number}") is scene.session
