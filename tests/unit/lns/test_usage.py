"""What goes into the files of accounting_dir, and when."""

import pytest

from l2tpns_core.dataplane.plane import SessionCounters
from l2tpns_core.lns.usage import MAX_ENDED, SLICE, UsageReport
from l2tpns_core.session import Session
from support.memory import Client, Lac, World

INTERVAL_S = 300
PASS_S = 2.0


class Scene:
    """An LNS whose reports are caught."""

    def __init__(self, pool: int = 4, **directives: object) -> None:
        self.world = World(pool, **{"accounting_dir": "/somewhere", **directives})
        self.reports: list[tuple[float, list[str]]] = []
        self.report: UsageReport = self.world.lns.usage_report
        self.report.on_report = lambda at, lines: self.reports.append((at, lines))
        self.lac = Lac(self.world).open()

    def use(self, client: Client, octets_in: int, octets_out: int) -> None:
        usage = SessionCounters(octets_in, octets_out, heard_at=self.world.now)
        self.world.plane.set_usage(client.key, usage)

    def session(self, client: Client) -> Session:
        return self.world.lns.sessions[client.key]

    @property
    def lines(self) -> list[list[str]]:
        return [lines for _, lines in self.reports]


def test_every_interval_says_what_was_used_since_the_last_one() -> None:
    scene = Scene()
    client = scene.lac.call("alice")
    begun = scene.world.now
    scene.use(client, 700, 6 << 32)
    scene.world.run(INTERVAL_S + PASS_S)
    scene.use(client, 1700, 6 << 32)
    scene.world.run(INTERVAL_S)
    scene.world.run(INTERVAL_S)
    assert scene.lines == [["alice 10.0.0.1 1 700 25769803776"], ["alice 10.0.0.1 1 1000 0"]]
    times = [at - scene.world.wall_offset - begun for at, _ in scene.reports]
    assert times == pytest.approx([INTERVAL_S, 2 * INTERVAL_S], abs=1)


def test_a_session_that_used_nothing_has_no_line_and_without_lines_there_is_no_report() -> None:
    scene = Scene()
    scene.lac.call("alice")
    scene.world.run(INTERVAL_S + PASS_S)
    assert scene.reports == []
    scene.use(scene.lac.call("bob"), 1, 0)
    scene.world.run(INTERVAL_S)
    assert scene.lines == [["bob 10.0.0.2 1 1 0"]]


@pytest.mark.parametrize(("rate_in", "rate_out", "qos"), [(0, 0, 1), (28, 0, 2), (0, 28, 2)])
def test_the_quality_of_throttled_users_is_2(rate_in: int, rate_out: int, qos: int) -> None:
    scene = Scene()
    client = scene.lac.call("alice")
    scene.world.lns.throttle(scene.session(client), rate_in, rate_out)
    scene.use(client, 5, 6)
    scene.world.run(INTERVAL_S + PASS_S)
    assert scene.lines == [[f"alice 10.0.0.1 {qos} 5 6"]]


def test_what_a_session_used_before_its_end_is_in_the_next_report() -> None:
    scene = Scene()
    client = scene.lac.call("alice")
    scene.use(client, 10, 20)
    scene.world.run(INTERVAL_S + PASS_S)
    scene.use(client, 15, 27)
    scene.world.lns.kill_session(scene.session(client), "over")
    again = scene.lac.call("alice")
    scene.use(again, 1, 2)
    scene.world.run(INTERVAL_S)
    assert scene.lines[0] == ["alice 10.0.0.1 1 10 20"]
    assert [line.split()[3:] for line in scene.lines[1]] == [["5", "7"], ["1", "2"]]


def test_the_walled_garden_is_nobodys_traffic() -> None:
    scene = Scene()
    client = scene.lac.call("alice")
    session = scene.session(client)
    scene.use(client, 10, 20)
    scene.world.lns.set_garden(session, True)
    scene.use(client, 1010, 2020)
    scene.world.run(INTERVAL_S + PASS_S)
    assert scene.lines == [["alice 10.0.0.1 1 10 20"]]
    scene.world.lns.set_garden(session, False)
    scene.use(client, 1013, 2024)
    scene.world.run(INTERVAL_S)
    assert scene.lines[1:] == [["alice 10.0.0.1 1 3 4"]]
    scene.world.lns.set_garden(session, True)
    scene.use(client, 9999, 9999)
    scene.world.lns.kill_session(session, "over")
    scene.world.run(INTERVAL_S)
    assert len(scene.reports) == 2


def test_many_sessions_are_looked_at_a_slice_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    count = 5 * SLICE + 1
    scene = Scene(pool=count)
    clients = [scene.lac.call(f"user{number}") for number in range(count)]
    for client in clients:
        scene.use(client, 1, 1)
    looked: list[Session] = []
    usage = scene.world.lns.usage

    def look(session: Session) -> SessionCounters:
        looked.append(session)
        return usage(session)

    monkeypatch.setattr(scene.world.lns, "usage", look)
    most = 0
    while not scene.reports:
        deadline = scene.world.lns.timers.next_deadline()
        assert deadline is not None
        before = len(looked)
        scene.world.now = max(scene.world.now, deadline)
        scene.world.lns.handle_timers(scene.world.now)
        scene.world.settle()
        most = max(most, len(looked) - before)
    assert most == SLICE
    (lines,) = scene.lines
    assert sorted(line.split()[0] for line in lines) == sorted(f"user{n}" for n in range(count))


def test_so_many_ends_that_a_report_comes_early(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_ENDED >= 1000
    monkeypatch.setattr("l2tpns_core.lns.usage.MAX_ENDED", 3)
    scene = Scene()
    clients = [scene.lac.call(f"user{number}") for number in range(4)]
    for client in clients:
        scene.use(client, 1, 1)
    for client in clients[:3]:
        scene.world.lns.kill_session(scene.session(client), "over")
    scene.world.run(PASS_S)
    assert [line.split()[0] for line in scene.lines[0]] == ["user0", "user1", "user2", "user3"]


def test_the_rest_is_reported_before_the_end() -> None:
    scene = Scene()
    scene.use(scene.lac.call("alice"), 3, 4)
    scene.report.finish()
    scene.report.finish()
    assert scene.lines == [["alice 10.0.0.1 1 3 4"]]


def test_it_begins_changes_and_stops_as_the_directives_say() -> None:
    scene = Scene(accounting_dir="", accounting_dir_interval=10)
    client = scene.lac.call("alice")
    scene.use(client, 3, 4)
    scene.world.run(60)
    assert scene.reports == []
    for octets, directory, interval, expected in (
        (5, "/somewhere", 10, ["alice 10.0.0.1 1 5 5"]),
        (6, "/somewhere", 3, ["alice 10.0.0.1 1 1 1"]),
        (9, "", 3, []),
    ):
        config = scene.world.config
        scene.use(client, octets, octets)
        scene.world.lns.configure(
            type(config)(
                hostname="lns",
                radius_accounting=True,
                accounting_dir=directory,
                accounting_dir_interval=interval,
            )
        )
        scene.reports.clear()
        scene.world.run(interval + 0.5)
        assert [line for lines in scene.lines for line in lines] == expected


@pytest.mark.parametrize(
    ("user", "word"),
    [
        ("alice@isp.example", "alice@isp.example"),
        ("DOM\\alice", "DOM\\alice"),
        ("a b", "a%20b"),
        ("a\nroot 10.0.0.9 1 5 5", "a%0Aroot%2010.0.0.9%201%205%205"),
        ("#alice", "%23alice"),
        ("al#ice", "al#ice"),
        ("zoë", "zoë"),
        ("\udcff", "%FF"),
        ("a\u2028b", "a%E2%80%A8b"),
    ],
)
def test_a_name_is_one_word(user: str, word: str) -> None:
    scene = Scene()
    client = scene.lac.call("alice")
    scene.session(client).user = user
    scene.use(client, 1, 1)
    scene.world.run(INTERVAL_S + PASS_S)
    assert scene.lines == [[f"{word} 10.0.0.1 1 1 1"]]
