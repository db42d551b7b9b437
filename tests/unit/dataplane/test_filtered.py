"""Access lists in the user-space plane: what passes, what is dropped and counted."""

from dataclasses import replace

from l2tpns_core.access_lists.lists import AccessList, AccessLists
from l2tpns_core.access_lists.parse import parse_rule
from l2tpns_core.access_lists.rules import Kind
from unit.dataplane.fakes import FAR, IP_PREFIX, SUBSCRIBER, Bench, data_message, udp_packet

UP = udp_packet(SUBSCRIBER, FAR)
DOWN = udp_packet(FAR, SUBSCRIBER)


def access_list(*lines: str) -> AccessList:
    lists = AccessLists()
    for line in lines:
        lists.add_rule(Kind.EXTENDED, "x", parse_rule(Kind.EXTENDED, line.split()))
    return lists.define(Kind.EXTENDED, "x")


def bench_with(**filters: AccessList) -> Bench:
    bench = Bench()
    bench.table.install(replace(bench.entry.route, **filters), None)
    return bench


def test_what_the_subscriber_sends() -> None:
    judge = access_list("deny udp any any eq 9", "permit ip any any")
    bench = bench_with(filter_in=judge)
    bench.receive(data_message(IP_PREFIX + UP))
    other = udp_packet(SUBSCRIBER, FAR, ports=(1024, 10))
    bench.receive(data_message(IP_PREFIX + other))
    bench.route_down(DOWN)
    assert bench.device.written == [other]
    assert bench.counters.filter_drops_in == 1
    assert bench.entry.counters().packets_in == 1
    assert len(bench.socket.sent) == 1
    assert judge.hits == [1, 1]


def test_what_the_subscriber_receives() -> None:
    judge = access_list("permit udp any any eq 10")
    bench = bench_with(filter_out=judge)
    bench.route_down(DOWN)
    bench.route_down(udp_packet(FAR, SUBSCRIBER, ports=(1024, 10)))
    bench.receive(data_message(IP_PREFIX + UP))
    assert len(bench.socket.sent) == 1
    assert bench.counters.filter_drops_out == 1
    assert bench.device.written == [UP]


def test_a_packet_that_is_too_big_is_judged_before_it_is_cut() -> None:
    judge = access_list("permit udp any any eq 9")
    bench = bench_with(filter_out=judge)
    bench.route_down(udp_packet(FAR, SUBSCRIBER, bytes(3000)))
    assert len(bench.socket.sent) == 3
    assert judge.hits == [1]


def test_what_a_plugin_made_of_a_packet_is_judged() -> None:
    bench = bench_with(filter_in=access_list("permit ip any any"))
    bench.table.install(replace(bench.entry.route, hooked=True), None)
    bench.up.hook = lambda key, packet: b"\x60" + packet[1:]
    bench.receive(data_message(IP_PREFIX + UP))
    assert not bench.device.written
    assert bench.counters.filter_drops_in == 1
