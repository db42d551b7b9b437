"""What a link costs once its subscriber is up."""

import gc
import tracemalloc

from l2tpns_core.ppp.config import AuthProtocol, LinkConfig, NetworkConfig
from l2tpns_core.ppp.link import Link
from unit.ppp.wire import Client, Line, counting_random, make_link, open_ipcp

LINKS = 200
MAX_BYTES = 1200


def up(config: LinkConfig, address: int) -> Link:
    """A link that a simulated client has dialled, with nothing left but the link itself."""
    link = Link(config, counting_random())
    line = Line(link, Client(methods=config.auth), network=NetworkConfig(1, address, (2, 3)))
    line.dial()
    assert line.run(lambda: line.client.up and link.ipcp_state.label == "Opened")
    return link


def test_a_link_that_is_up_is_small() -> None:
    config = LinkConfig("lns", auth=(AuthProtocol.CHAP_MD5,))
    config_random = counting_random()
    links = [up(config, 10)]
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(LINKS):
            links.append(up(config, 1 << 24 | number))
            links[-1].random = config_random  # one source for all, as in the daemon
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (after - before) / LINKS < MAX_BYTES


def count_links() -> int:
    return sum(type(thing) is Link for thing in gc.get_objects())


def test_a_link_goes_without_the_help_of_the_garbage_collector() -> None:
    gc.collect()
    gc.disable()
    try:
        before = count_links()
        link = make_link()
        open_ipcp(link)
        assert count_links() == before + 1
        del link
        assert count_links() == before
    finally:
        gc.enable()
