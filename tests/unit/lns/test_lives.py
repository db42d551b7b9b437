"""What is recorded of sessions, from the LNS's own points of event, in virtual time."""

import pytest

from l2tpns_core.life import Step
from l2tpns_core.lns import lives
from l2tpns_core.lns.lives import Lives
from l2tpns_core.radius.model import AccessOutcome, AccessReply
from support.memory import Lac, World


def steps_of(world: World, user: str) -> list[Step]:
    (session,) = world.lns.sessions_of_user(user)
    assert session.life is not None
    return [happening.step for happening in session.life]


def past_of(world: World, user: str) -> list[tuple[Step, str]]:
    (past,) = world.lns.lives.past_of_user(user)
    return [(happening.step, happening.detail) for happening in past.life]


UP = [
    Step.CALLED,
    Step.CONNECTED,
    Step.LCP_UP,
    Step.LOGIN,
    Step.ACCEPTED,
    Step.ADDRESS,
    Step.ONLINE,
    Step.ACCOUNTING,
]


def test_a_login_is_recorded_step_by_step() -> None:
    world = World()
    Lac(world).open().call("alice", "secret")
    assert steps_of(world, "alice") == UP


def test_a_life_survives_its_session() -> None:
    world = World()
    Lac(world).open().call("alice", "secret")
    (session,) = world.lns.sessions_of_user("alice")
    world.lns.kill_session(session, "an operator's whim")
    steps = past_of(world, "ALICE")
    assert [step for step, _ in steps] == [*UP, Step.ENDED]
    assert steps[-1][1].endswith("Stop an operator's whim (Admin-Reset)")
    (past,) = world.lns.lives.past_of_id(session.session_id)
    assert past.accounting_id == session.accounting_id
    assert not list(world.lns.lives.past_of_id(session.session_id, session.tunnel_id + 1))


def test_who_was_rejected_is_found_by_the_name_that_was_given() -> None:
    world = World()
    world.radius.policy = lambda request: AccessReply(
        AccessOutcome.REJECT, reply_message="no such customer"
    )
    Lac(world).open().call("mallory", "guess")
    world.run(60.0)
    steps = past_of(world, "mallory")
    assert (Step.REJECTED, "no such customer") in steps
    assert Step.ADDRESS not in [step for step, _ in steps]
    assert steps[-1][0] is Step.ENDED


def test_a_change_of_limits_is_recorded() -> None:
    world = World()
    Lac(world).open().call("alice", "secret")
    (session,) = world.lns.sessions_of_user("alice")
    world.lns.throttle(session, 512, -1)
    assert session.life is not None
    assert list(session.life)[-1][1:] == (Step.THROTTLED, "512 0")


def test_only_so_many_past_lives_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lives, "MAX_PAST", 3)
    world = World()
    world.lns.lives = Lives(world.lns.wall)
    lac = Lac(world).open()
    for number in range(5):
        lac.call(f"user-{number}", "secret")
        (session,) = world.lns.sessions_of_user(f"user-{number}")
        world.lns.kill_session(session, "over")
    kept = [len(list(world.lns.lives.past_of_user(f"user-{n}"))) for n in range(5)]
    assert kept == [0, 0, 1, 1, 1]
