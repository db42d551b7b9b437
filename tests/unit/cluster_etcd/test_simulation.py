"""Whatever happens to the nodes, to etcd and between them: never are there two masters."""

import pytest

from unit.cluster_etcd.etcd_world import EtcdWorld

NODES = (1, 2, 3, 4)
SESSIONS = 50
CONVERGENCE_S = 60.0


class Story:
    """Random events with changes in between."""

    def __init__(self, seed: int, loss: float = 0.05, hold: float = 30.0) -> None:
        self.world = EtcdWorld(seed, loss, hold)
        self.random = self.world.random
        self.changes = 0
        for address in NODES:
            self.world.start(address)
        self.pass_time(15)

    def pass_time(self, seconds: float) -> None:
        """With changes by whoever is master."""
        end = self.world.now + seconds
        while self.world.now < end:
            for address in self.world.deciding():
                self.changes += 1
                number = self.random.randrange(SESSIONS)
                self.world.computers[address].change(number, f"user-{self.changes}")
            self.world.run(self.random.uniform(0.05, 0.5))

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
        self.pass_time(self.random.choice([0.3, 3, 4, 6, 9]))
        self.world.frozen.discard(address)

    def drain_master(self) -> None:
        for address in self.world.masters():
            node = self.world.computers[address].node
            node.drain(self.world.now)
            self.pass_time(3)
            node.undrain(self.world.now)

    def cut(self) -> None:
        side = {address for address in NODES if self.random.random() < 0.5}
        self.world.cut(side, set(NODES) - side)
        self.world.without_etcd = self.random.choice([set(), side])

    def cut_some_from_etcd(self) -> None:
        self.world.without_etcd = {each for each in NODES if self.random.random() < 0.5}

    def cut_master_from_etcd(self) -> None:
        self.world.without_etcd = set(self.world.masters())

    def etcd_down(self) -> None:
        self.world.stop_etcd()

    def heal(self) -> None:
        self.world.heal()
        self.world.without_etcd = set()
        if not self.world.etcd_is_up:
            self.world.start_etcd()

    def slow(self) -> None:
        self.world.slow = self.random.choice([0.02, 0.3, 1.0])

    def end_well(self) -> None:
        """Everything works again: soon there is one master, and all know the same."""
        world = self.world
        self.heal()
        world.frozen.clear()
        world.slow, world.loss = 0.02, 0.0
        world.run(10)
        while len(world.computers) < len(NODES):
            self.start()
        world.run_until(lambda: len(world.masters()) == 1 and self.all_agree(), CONVERGENCE_S)
        before = world.elections
        world.run(30)
        assert world.elections == before, "elections end"
        assert self.all_agree()

    def all_agree(self) -> bool:
        return len(self.world.masters()) == 1 and all(
            computer.node.up_to_date and computer.known == self.world.master.table
            for computer in self.world.computers.values()
        )


@pytest.mark.parametrize("hold", [0.0, 30.0])
@pytest.mark.parametrize("seed", range(8))
def test_there_are_never_two_masters(seed: int, hold: float) -> None:
    story = Story(seed, hold=hold)
    happenings = [
        story.kill,
        story.kill_master,
        story.start,
        story.start,
        story.stop_and_go,
        story.drain_master,
        story.cut,
        story.cut_some_from_etcd,
        story.cut_master_from_etcd,
        story.etcd_down,
        story.heal,
        story.heal,
        story.slow,
    ]
    for _ in range(14):
        if not story.world.computers:
            story.start()
        story.random.choice(happenings)()
        story.pass_time(story.random.choice([0.2, 2, 7, 15]))
    story.end_well()
    assert story.world.two_masters == []
    assert story.changes > 10
