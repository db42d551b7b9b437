"""Whatever happens to the nodes and between them, in an order that nobody has thought of.

Sessions are never removed here and each change has a higher number, so that a change that was
undone shows.
"""

from collections.abc import Callable

import pytest

from unit.cluster.world import Computer, World

NODES = range(1, 6)
SESSIONS = 150
CONVERGENCE_S = 5.0 + 12 * 0.5
"""The timeout, and some lost heartbeats and pings."""
TWO_MASTERS_S = 6 * 0.5
"""How long two masters go on after a heal when a tenth of the datagrams is lost."""


class Story:
    """Random events with changes in between."""

    def __init__(self, seed: int, loss: float) -> None:
        self.world = World(seed, loss=loss, delay=0.01)
        self.world.duplicates = 0.05
        self.random = self.world.random
        self.changes = 0
        for address in NODES:
            self.world.start(address)
        self.pass_time(9)

    def pass_time(self, seconds: float) -> None:
        """With changes by whoever is master."""
        end = self.world.now + seconds
        while self.world.now < end:
            for address in self.world.masters():
                if address not in self.world.frozen:
                    self.change(self.world.computers[address])
            self.world.run(self.random.uniform(0.005, 0.3))

    def change(self, master: Computer) -> None:
        self.changes += 1
        master.change(self.random.randrange(SESSIONS), f"user-{self.changes}")

    # What happens

    def kill(self) -> None:
        self.world.kill(self.random.choice(list(self.world.computers)))

    def kill_master(self) -> None:
        for address in self.world.masters():
            self.world.kill(address)

    def start(self) -> None:
        missing = [address for address in NODES if address not in self.world.computers]
        if missing:
            self.world.start(self.random.choice(missing))

    def stop_and_go(self) -> None:
        """A node gets no processor for a while."""
        address = self.random.choice(list(self.world.computers))
        self.world.frozen.add(address)
        self.pass_time(self.random.choice([0.3, 3, 9]))
        self.world.frozen.discard(address)

    def drain_master(self) -> None:
        for address in self.world.masters():
            self.world.computers[address].node.drain(self.world.now)
            self.pass_time(3)
            self.world.computers[address].node.undrain(self.world.now)

    def cut(self) -> None:
        side = {address for address in NODES if self.random.random() < 0.5}
        self.world.cut(side, set(NODES) - side)

    # What must hold

    def end_well(self) -> None:
        """Everything works again: soon there is one master, and all know the same."""
        world = self.world
        world.heal()
        world.frozen.clear()
        if not world.computers:
            self.start()
        world.run_until(lambda: len(world.masters()) == 1, CONVERGENCE_S)
        world.run_until(self.all_agree, CONVERGENCE_S)
        before = world.elections
        world.run(20)
        assert world.elections == before, "elections end"
        assert self.all_agree()

    def all_agree(self) -> bool:
        masters = self.world.masters()
        return len(masters) == 1 and all(
            computer.node.up_to_date and computer.known == self.world.master.table
            for computer in self.world.computers.values()
        )


def play(story: Story, happenings: list[Callable[[], None]], count: int = 12) -> None:
    for _ in range(count):
        if not story.world.computers:
            story.start()
        story.random.choice(happenings)()
        story.pass_time(story.random.choice([0.2, 2, 7]))


@pytest.mark.parametrize("seed", range(6))
def test_no_crash_loses_a_change_that_a_living_node_has(seed: int) -> None:
    story = Story(seed, loss=0.05)
    for _ in range(10):
        if len(story.world.computers) > 2:
            story.random.choice([story.kill, story.kill_master, story.drain_master])()
        else:
            story.start()
        story.pass_time(story.random.choice([0.2, 2, 7, 7]))
    story.end_well()
    assert story.world.lost == []
    assert story.changes > 100


@pytest.mark.parametrize("seed", range(6))
def test_after_any_failure_all_agree_again(seed: int) -> None:
    story = Story(100 + seed, loss=0.1)
    play(
        story,
        [
            story.kill,
            story.kill_master,
            story.start,
            story.start,
            story.stop_and_go,
            story.drain_master,
            story.cut,
            story.world.heal,
        ],
    )
    story.end_well()


@pytest.mark.parametrize("seed", range(4))
def test_two_masters_do_not_last_after_a_heal(seed: int) -> None:
    story = Story(200 + seed, loss=0.1)
    world = story.world
    world.cut({1, 2}, {3, 4, 5})
    story.pass_time(10)
    assert len(world.masters()) == 2
    world.heal()
    world.run_until(lambda: len(world.masters()) <= 1, TWO_MASTERS_S)
    story.end_well()
