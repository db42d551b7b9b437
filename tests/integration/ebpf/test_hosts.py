"""Which session a packet to an address is for, with few and with scattered addresses."""

import contextlib
from collections.abc import Iterator

import pytest

from integration.ebpf.setting import number, route
from l2tpns_core.dataplane.ebpf.fastpath import FEWEST_BLOCKS, FastPath, FastPathOptions
from l2tpns_core.dataplane.ebpf.hosts import HostTable
from l2tpns_core.dataplane.ebpf.loader import Loaded, load
from l2tpns_core.dataplane.ebpf.maps import HashMap
from l2tpns_core.dataplane.ebpf.table import NextHop

pytestmark = pytest.mark.netns

SCATTERED = [number("10.0.0.9") + (n << 8) for n in range(5)]
BLOCKS = 2


@pytest.fixture
def loaded() -> Iterator[Loaded]:
    made = load({"directory": BLOCKS, "blocks": BLOCKS, "addresses": 8}, None)
    yield made
    made.close()


@pytest.fixture
def hosts(loaded: Loaded) -> Iterator[HostTable]:
    made = HostTable(loaded.maps)
    yield made
    made.close()


def keys(loaded: Loaded, name: str) -> set[int]:
    return {int.from_bytes(key, "big") for key, _ in HashMap(loaded.maps[name], name).items()}


def content(loaded: Loaded) -> tuple[set[int], set[int]]:
    """The networks that have blocks, and the addresses in the hash map."""
    return keys(loaded, "directory"), keys(loaded, "addresses")


def test_when_the_blocks_are_taken_the_hash_map_has_the_others(
    loaded: Loaded, hosts: HostTable
) -> None:
    hosts.change({address: n + 1 for n, address in enumerate(SCATTERED)})
    hosts.change({SCATTERED[0] + 1: 7, SCATTERED[4] + 1: 8})
    networks, addresses = content(loaded)
    assert networks == {address - 9 for address in SCATTERED[:2]}
    assert addresses == {*SCATTERED[2:], SCATTERED[4] + 1}
    again = HostTable(loaded.maps)
    assert dict(again.adopt(set(range(1, 9)))) == {
        **{address: n + 1 for n, address in enumerate(SCATTERED)},
        SCATTERED[0] + 1: 7,
        SCATTERED[4] + 1: 8,
    }
    again.close()


def test_a_block_is_free_when_its_last_address_goes(loaded: Loaded, hosts: HostTable) -> None:
    first, second, third = SCATTERED[:3]
    hosts.change({first: 1, first + 1: 2, second: 3, third: 4})
    hosts.change({first: None})
    assert content(loaded) == ({first - 9, second - 9}, {third})
    hosts.change({first + 1: None, first: None})
    assert content(loaded) == ({second - 9}, {third})
    hosts.change({third: 5})
    assert content(loaded) == ({second - 9, third - 9}, set())


def test_what_leads_to_nobody_is_removed_on_adoption(loaded: Loaded, hosts: HostTable) -> None:
    hosts.change({address: n + 1 for n, address in enumerate(SCATTERED)})
    again = HostTable(loaded.maps)
    assert again.adopt({1, 3}) == [(SCATTERED[0], 1), (SCATTERED[2], 3)]
    assert content(loaded) == ({SCATTERED[0] - 9}, {SCATTERED[2]})
    again.close()


def test_scattered_sessions_are_all_found() -> None:
    count = 2 * FEWEST_BLOCKS
    options = FastPathOptions(max_sessions=count, local="192.0.2.1")
    with contextlib.closing(FastPath.open(options)) as fast:
        fast.install_many((route(key=n, ip=n << 8), NextHop()) for n in range(1, count + 1))
        memory = fast.statistics().memory
        assert len(fast) == count
        assert set(fast.remove_many(range(1, count + 1))) == set(range(1, count + 1))
        assert memory["blocks"] < memory["sessions"] * 8
