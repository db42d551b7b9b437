"""What a call costs in memory, and that a message takes microseconds."""

import gc
import time
import tracemalloc

from unit.l2tp.wire import Bench, avp, control, iccn, icrq

CALLS = 2000
MAX_BYTES_PER_CALL = 500
MAX_S_PER_CALL = 0.001  # measured: 0.00008 on one slow core


def connect(bench: Bench, number: int) -> None:
    """One call through, as raw as can be."""
    tunnel, now = bench.open_tunnel, bench.now
    request = icrq(number, avp(22, b"04411234%04d" % number), avp(21, b"0800123"))
    for session, body in ((0, request), (number, iccn())):
        datagram = control(tunnel.local_id, session, bench.ns, bench.nr, body)
        bench.ns = bench.ns + 1 & 0xFFFF
        bench.endpoint.receive(datagram, tunnel.peer, tunnel.local, now)
        while (event := tunnel.next_event()) is not None:
            if not session:
                tunnel.accept_call(event.call, number, now)  # type: ignore[union-attr]
        bench.nr = bench.nr + (not session) & 0xFFFF
        tunnel.datagrams_to_send(now)


def test_established_call_is_small_and_quick() -> None:
    bench = Bench().open()
    connect(bench, 1)
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(2, CALLS + 2):
        connect(bench, number)
    bench.acknowledge()
    gc.collect()
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert len(bench.open_tunnel.calls) == CALLS + 1
    assert used / CALLS < MAX_BYTES_PER_CALL
    started = time.perf_counter()
    for number in range(CALLS + 2, 2 * CALLS + 2):
        connect(bench, number)
    assert (time.perf_counter() - started) / CALLS < MAX_S_PER_CALL
