"""Who receives what: addresses, networks, and two sessions that claim the same."""

import ipaddress
import socket

from hypothesis import given
from hypothesis import strategies as st

from l2tpns_core.dataplane.forwarding import Entry, ForwardingTable
from unit.dataplane.fakes import number, route


def find(table: ForwardingTable, address: str) -> Entry | None:
    raw = socket.inet_aton(address)
    return table.hosts.get(raw) or table.find_network(raw)


def network(text: str) -> tuple[int, int]:
    parsed = ipaddress.ip_network(text)
    return int(parsed.network_address), parsed.prefixlen


def test_session_receives_its_address_until_it_is_removed() -> None:
    table = ForwardingTable()
    entry = table.install(route(), None)
    assert find(table, "10.0.0.5") is entry
    assert table.remove(entry.key) is entry
    assert find(table, "10.0.0.5") is None
    assert table.remove(entry.key) is None


def test_longest_network_wins() -> None:
    table = ForwardingTable()
    wide = table.install(route(key=1, ip=0, networks=(network("10.0.0.0/8"),)), None)
    narrow = table.install(route(key=2, ip=0, networks=(network("10.1.0.0/16"),)), None)
    host = table.install(route(key=3, ip=number("10.1.1.1")), None)
    assert find(table, "10.2.3.4") is wide
    assert find(table, "10.1.2.3") is narrow
    assert find(table, "10.1.1.1") is host
    assert find(table, "11.0.0.1") is None
    table.remove(2)
    assert find(table, "10.1.2.3") is wide


def test_default_route_and_host_route_are_networks_too() -> None:
    table = ForwardingTable()
    entry = table.install(
        route(ip=0, networks=(network("0.0.0.0/0"), network("192.0.2.9/32"))), None
    )
    assert find(table, "8.8.8.8") is entry
    assert find(table, "192.0.2.9") is entry
    assert socket.inet_aton("192.0.2.9") in table.hosts


def test_new_route_moves_the_session_and_keeps_its_counters() -> None:
    table = ForwardingTable()
    entry = table.install(route(), None)
    entry.octets_in = 77
    entry.next_ns = 9
    again = table.install(route(ip=number("10.0.0.6"), networks=(network("10.9.0.0/24"),)), None)
    assert again is entry
    assert find(table, "10.0.0.5") is None
    assert find(table, "10.0.0.6") is entry
    assert find(table, "10.9.0.1") is entry
    assert (entry.octets_in, entry.next_ns) == (77, 9)


def test_network_down_withdraws_everything_but_the_session() -> None:
    table = ForwardingTable()
    table.install(route(networks=(network("10.9.0.0/24"),)), None)
    entry = table.install(route(ip=0), None)
    assert table.sessions[entry.key] is entry
    assert not table.hosts
    assert not table.prefixes
    assert not entry.owns(socket.inet_aton("10.0.0.5"))


def test_last_claim_of_an_address_wins_and_the_one_before_gets_it_back() -> None:
    table = ForwardingTable()
    first, second, third = (table.install(route(key=key), None) for key in (1, 2, 3))
    assert find(table, "10.0.0.5") is third
    table.remove(2)
    assert find(table, "10.0.0.5") is third
    table.remove(3)
    assert find(table, "10.0.0.5") is first
    table.remove(1)
    assert find(table, "10.0.0.5") is None
    assert second.key == 2


def test_host_bits_of_a_network_do_not_matter() -> None:
    table = ForwardingTable()
    entry = table.install(route(ip=0, networks=((number("10.9.0.77"), 24),)), None)
    assert find(table, "10.9.0.1") is entry
    assert entry.owns(socket.inet_aton("10.9.0.200"))


prefixes = st.builds(
    lambda bits, length: (bits << (32 - length) & 0xFFFFFFFF, length),
    st.integers(0, 7),
    st.integers(1, 32),
)


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.booleans(), st.lists(prefixes, max_size=3)), max_size=30
    ),
    st.lists(prefixes, min_size=1, max_size=5),
)
def test_lookups_agree_with_a_search_of_all_sessions(
    steps: list[tuple[int, bool, list[tuple[int, int]]]], probes: list[tuple[int, int]]
) -> None:
    """Any order of installs and removals; the model searches a plain list."""
    table = ForwardingTable()
    model: dict[int, dict[tuple[int, int], int]] = {}
    for step, (key, removed, networks) in enumerate(steps):
        if removed:
            table.remove(key)
            model.pop(key, None)
            continue
        table.install(route(key=key, ip=0, networks=tuple(networks)), None)
        before = model.get(key, {})
        model[key] = {prefix: before.get(prefix, step) for prefix in networks}
    for address, _ in probes:
        claims = [
            (length, claimed_at, key)
            for key, owned in model.items()
            for (base, length), claimed_at in owned.items()
            if address >> (32 - length) == base >> (32 - length)
        ]
        found = find(table, str(ipaddress.IPv4Address(address)))
        assert (found.key if found else None) == (max(claims)[2] if claims else None)
    for key in list(model):
        table.remove(key)
    assert not table.hosts
    assert not table.prefixes
    assert not table._claims
