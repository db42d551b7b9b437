"""What becomes of accounting, counters and answers when the master changes, or does not."""

import asyncio
import contextlib
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from l2tpns_core.cluster import events
from l2tpns_core.cluster.counts import Count
from l2tpns_core.cluster.role import Role
from l2tpns_core.cluster.settings import ClusterSettings
from l2tpns_core.clustering.counting import Counting
from l2tpns_core.clustering.keeper import ClusterKeeper, Gate
from l2tpns_core.clustering.service import ClusterService
from l2tpns_core.clustering.takeover import Takeover, account_for_ended
from l2tpns_core.config.directives import Config
from l2tpns_core.dataplane.plane import SessionCounters
from l2tpns_core.radius.model import AccessOutcome, AccessReply, AccountingStatus
from l2tpns_core.restart import Restart
from l2tpns_core.state.adoption import Adoption
from l2tpns_core.state.image import Image
from l2tpns_core.state.records import Records
from l2tpns_core.state.reports import SavedReport
from support.memory import Lac, World
from unit.clustering.test_counting import AHEAD
from unit.clustering.test_counting import Plane as CountedPlane
from unit.clustering.test_keeper import KEY, Courier, Node, record

STOP = AccountingStatus.STOP


class Plane(CountedPlane):
    """The same for a master, too."""

    def add(self, key: int, more: SessionCounters) -> None:
        before = self.counters(key)
        sums = (a + b for a, b in zip(before[:4], more[:4], strict=True))
        self.totals[key] = SessionCounters(*sums, 5.0, 5.0)

    def own_counters(self, key: int) -> SessionCounters:
        return self.counters(key)


async def nothing() -> None:
    pass


class Computer:
    """An LNS in memory whose node is played by the test."""

    def __init__(self) -> None:
        self.world = World()
        self.plane = Plane()
        self.node = Node()
        self.counting = Counting(self.plane, lambda: AHEAD)
        self.keeper = ClusterKeeper(Records(self.world.lns, self.plane), lambda: 0.0)
        self.keeper.node = self.node  # type: ignore[assignment]
        tables: Any = SimpleNamespace(hand_over=set, inherit=lambda sessions: None)
        self.takeover = Takeover(self.host(), self.keeper, tables, self.counting)

    def host(self) -> Any:
        restart = SimpleNamespace(begin=nothing, forget=lambda: None, install=self.install)
        restart.take_in_slices = self.take_in_slices
        return SimpleNamespace(
            lns=self.world.lns,
            plane=self.plane,
            restart=restart,
            resume_journal=nothing,
            settle=nothing,
            show_sessions=lambda: None,
            forget_sessions=lambda: None,
        )

    async def take_in_slices(self, lns: object) -> None:
        """Nothing was saved."""

    async def install(self, lns: object, plane: object) -> None:
        """Nothing was saved."""

    def image(self) -> Image:
        """What slaves know when they have everything."""
        image = Image()
        for rows in self.keeper.records.everything():
            for row in rows:
                image.apply(row)
        return image

    async def become_master(self, image: Image | None) -> None:
        await self.takeover.take(events.BecameMaster(1, image, {}))


def play(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(story)


def image_with_session(octets: int) -> tuple[int, Image]:
    """A session that has sent so much, as another master knew it."""
    other = Computer()
    key = Lac(other.world).open().call().key
    other.plane.use(key, octets)
    return key, other.image()


def test_a_short_reign_doubles_nothing() -> None:
    """The node steps down before it has told the counters of all sessions."""

    async def story() -> None:
        key, image = image_with_session(10_000)
        computer = Computer()
        await computer.become_master(image)
        assert computer.plane.counters(key).octets_in == 10_000
        computer.counting.start(computer.keeper.records.counted)
        assert computer.counting.take([key]) == {}, "all nodes know all of it"

    play(story())


def test_what_left_the_plane_of_a_slave_is_not_lost_when_it_takes_over() -> None:
    """A session that an operator has throttled, say, and that is the master's since then."""

    async def story() -> None:
        key, image = image_with_session(1_000)
        computer = Computer()
        computer.counting.begin(key)
        computer.plane.use(key, 100)
        computer.counting.leave(key, computer.plane.remove(key))
        await computer.become_master(image)
        assert computer.plane.counters(key).octets_in == 1_100

    play(story())


def test_what_was_not_reported_of_an_ended_session_is_in_its_stop() -> None:
    stop, image = SavedReport.of(record(STOP)), Image()
    assert stop is not None
    image.reports[stop.name] = stop
    account_for_ended(image, {KEY: Count(5, 6, 1, 1, 9)})
    assert stop.usage == (105, 206, 2, 3)


def test_a_report_that_another_master_has_delivered_is_not_sent_by_the_next() -> None:
    async def story() -> None:
        first = Computer()
        first.keeper.report_sent(record(STOP))  # under way when it steps down
        await first.takeover.give_up()  # the other delivers it
        await first.become_master(Image())
        third = World()
        adoption = Adoption(third.lns, first.image())
        adoption.take()
        await adoption.install(SimpleNamespace(take_unclaimed=dict))  # type: ignore[arg-type]
        assert third.radius.records == []

    play(story())


def test_reports_under_way_are_sent_again_when_nobody_else_was_master() -> None:
    async def story() -> None:
        computer = Computer()
        lns = computer.world.lns
        await computer.become_master(None)
        lns.accounting.deliver(record(STOP))
        lns.keeper.discard(computer.keeper)  # it steps down, and what was under way is given up
        sent = len(computer.world.radius.records)
        await computer.become_master(None)
        assert [each.status for each in computer.world.radius.records[sent:]] == [STOP]

    play(story())


def test_changes_that_were_not_told_are_told_when_nobody_else_was_master() -> None:
    async def story() -> None:
        computer = Computer()
        lns = computer.world.lns
        await computer.become_master(None)
        computer.node.is_master = False  # it resigns while something changes
        key = Lac(computer.world).open().call().key
        computer.keeper.commit()
        lns.keeper.discard(computer.keeper)
        computer.node.is_master, computer.keeper.is_ready = True, False
        await computer.become_master(None)
        computer.keeper.commit()
        told = [row[1]["session_id"] for row in computer.node.rows if row[0] == "s"]
        assert told == [lns.sessions[key].session_id]

    play(story())


def test_who_is_not_master_lets_nothing_out() -> None:
    computer, seen = Computer(), list[str]()
    gate = Gate(computer.keeper, lambda: 0.0)
    computer.node.is_master, computer.node.slaves = False, 0
    gate.pass_on(lambda: seen.append("a word to a LAC"))
    gate.opened(0)
    assert seen == []


# The service


def made() -> tuple[Computer, ClusterService]:
    """A node without a network, on the running loop. Its events are told by told()."""
    computer = Computer()
    host = computer.host()
    for name in ("suspend", "resume", "connect"):
        setattr(host, name, lambda: None)
    host.courier, host.routes, host.pause_journal = Courier(), computer.world.routes, nothing
    host.mru, host.shows_packets = (lambda: 1454), (lambda: False)
    host.now, host.announce_address = (lambda: 0.0), (lambda: None)
    host.plugins = SimpleNamespace(listens=lambda event: False)
    host.want_routes = lambda value: None
    place: Any = SimpleNamespace(settings=ClusterSettings(1, b"secret"), peers=())
    return computer, ClusterService(host, place, 0.0)


async def told(service: ClusterService, *more: events.Event) -> None:
    """Have the service follow what its node, and the test, say."""
    while (event := service.node.next_event()) is not None:
        service._on_event(event)
    for event in more:
        service._on_event(event)
    await service._idle()


async def master() -> tuple[Computer, ClusterService]:
    computer, service = made()
    service.node.appoint(service.now())
    await told(service)
    assert service.decides
    return computer, service


def test_what_is_held_when_a_handover_fails_goes_out_after_it() -> None:
    async def story() -> None:
        _, service = await master()
        seen: list[str] = []
        service.gate._held.append((7, lambda: seen.append("a Stop")))
        await told(service, events.Resigning(2))
        assert not service.decides
        await told(service, events.Safe(7))
        assert seen == [], "it decides nothing"
        await told(service, events.Resumed(), events.Safe(7))
        assert seen == ["a Stop"]

    play(story())


def test_an_answer_to_a_login_waits_until_the_lns_is_at_work() -> None:
    async def story() -> None:
        _, service = await master()
        asked: list[Any] = []
        service.ledger._courier.authenticate = lambda request, done: asked.append(done) or 1  # type: ignore
        answers: list[AccessReply] = []
        for _ in range(2):
            service.ledger.authenticate(None, answers.append)  # type: ignore[arg-type]
        await told(service, events.Resigning(2))
        asked[0](AccessReply(AccessOutcome.ACCEPT))
        assert answers == []
        await told(service, events.Resumed())
        assert [reply.outcome for reply in answers] == [AccessOutcome.ACCEPT]
        await told(service, events.SteppedDown("another"))
        asked[1](AccessReply(AccessOutcome.REJECT))
        await told(service, events.Replaced(Image()))
        service.ledger.resume()
        assert len(answers) == 1, "the session is gone"

    play(story())


def test_who_was_replaced_during_a_takeover_does_not_decide() -> None:
    """Master, replaced, and master again before the first takeover is over."""

    async def story() -> None:
        _, service = made()
        service.node.appoint(service.now())
        event = service.node.next_event()
        assert isinstance(event, events.BecameMaster)
        service._on_event(event)
        service.node.dismiss(service.now())
        service.node.appoint(service.now())
        decided: list[bool] = []
        step_down = service._step_down

        async def stepping_down(event: events.SteppedDown) -> None:
            decided.append(service.decides)
            await step_down(event)

        service._step_down = stepping_down  # type: ignore[method-assign]
        await told(service)
        assert decided == [False], "the LNS would serve LACs and no slave be told"
        assert service.decides

    play(story())


def test_a_former_master_that_leaves_reports_before_it_has_anothers_state() -> None:
    async def story() -> None:
        computer, service = made()
        key = Lac(computer.world).open().call().key
        computer.plane.use(key, 100)
        service.node.settings.interval = 0.0
        assert service.node.role is Role.SLAVE
        await service._report_all()
        assert service.node._context.reporting.take_all()[key].octets_in == 100

    play(story())


def test_nobody_waits_for_a_drain_without_another_node() -> None:
    async def story() -> None:
        computer, service = await master()
        assert not await asyncio.wait_for(service.drain(), 1.0)
        assert service.decides
        assert computer.world.lns.endpoint.accepting

    play(story())


def test_journals_of_former_reigns_do_not_pile_up(tmp_path: Path) -> None:
    async def story() -> None:
        computer = Computer()
        lns, plane = computer.world.lns, computer.plane
        async with contextlib.AsyncExitStack() as stack:
            config = replace(Config(), save_state=True, state_dir=str(tmp_path))
            restart = Restart(config, stack)
            before = len(stack._exit_callbacks)  # type: ignore[attr-defined]
            for _ in range(20):
                await restart.keep(lns, plane)  # type: ignore[arg-type]
                await restart.pause(lns)
            assert len(stack._exit_callbacks) == before + 1  # type: ignore[attr-defined]

    play(story())
