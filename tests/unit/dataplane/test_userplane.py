"""The plane on an asyncio loop, with Unix sockets in place of the device."""

import asyncio
import io
import os
import socket
from collections.abc import Callable
from itertools import pairwise

import pytest

from l2tpns_core.config.directives import Config
from l2tpns_core.dataplane.plane import DataPlane, SessionCounters
from l2tpns_core.dataplane.tun import PlaneOptions, UserPlane
from l2tpns_core.dataplane.udp import L2tpSocket
from l2tpns_core.startup import plane_options
from unit.dataplane.fakes import (
    FAR,
    IP_PREFIX,
    KEY,
    LCP_ECHO,
    SUBSCRIBER,
    FakeEvents,
    data_message,
    number,
    route,
    udp_packet,
)

PACKET = udp_packet(SUBSCRIBER, FAR)


class Device:
    """One end of a packet socket pair as the TUN device; `kernel` is the other end."""

    def __init__(self) -> None:
        ours, self.kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        self.kernel.setblocking(False)
        self._file = io.FileIO(ours.detach(), "r+")
        self.read = self._file.read
        self.write = self._file.write

    def fileno(self) -> int:
        return self._file.fileno()

    def close(self) -> None:
        self._file.close()
        self.kernel.close()


class Setting:
    """A plane, its LAC and its kernel."""

    def __init__(self) -> None:
        self.device = Device()
        self.listener = L2tpSocket("127.0.0.1", 0, 65536)
        self.lac = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.lac.bind(("127.0.0.1", 0))
        self.lac.connect(("127.0.0.1", self.listener.port))
        self.lac.settimeout(5)
        self.events = FakeEvents()
        self.icmp: list[bytes] = []
        self.plane = UserPlane(
            asyncio.get_running_loop(),
            self.device,
            self.listener,
            self.events,
            PlaneOptions(multi_read_count=4, icmp_rate=1, address=number("203.0.113.1")),
            send_icmp=self.icmp.append,
        )
        self.plane.install(route(peer=self.lac.getsockname()))
        self.plane.start()

    def close(self) -> None:
        self.plane.stop()
        self.device.close()
        self.listener.close()
        self.lac.close()


async def until(condition: Callable[[], object]) -> None:
    """Let the loop run until a condition holds."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - packets set no event
            await asyncio.sleep(0)


def run(test: Callable[[Setting], object]) -> None:
    """Run an async test on a fresh setting."""

    async def main() -> None:
        setting = Setting()
        try:
            await test(setting)  # type: ignore[misc]
        finally:
            setting.close()

    asyncio.run(main())


def test_it_is_a_data_plane() -> None:
    plane: type[DataPlane] = UserPlane
    assert plane.name == "user"


def test_packets_pass_both_ways() -> None:
    async def test(setting: Setting) -> None:
        plane = setting.plane
        setting.lac.send(data_message(IP_PREFIX + PACKET))
        await until(lambda: plane.counters(KEY).packets_in)
        assert setting.device.kernel.recv(2000) == PACKET
        setting.device.kernel.send(udp_packet(FAR, SUBSCRIBER))
        await until(lambda: plane.counters(KEY).packets_out)
        assert setting.lac.recv(2000)[10:] == udp_packet(FAR, SUBSCRIBER)

    run(test)


@pytest.mark.parametrize("count", [3, 8])
def test_so_many_are_read_at_once(count: int) -> None:
    """multi_read_count: then the loop turns to others."""

    async def test(setting: Setting) -> None:
        plane = setting.plane
        plane.configure(plane_options(Config(multi_read_count=count)))
        for _ in range(20):
            setting.lac.send(data_message(IP_PREFIX + PACKET))
        seen = []
        while not seen or seen[-1] < 20:
            await asyncio.sleep(0)
            seen.append(plane.counters(KEY).packets_in)
        steps = {after - before for before, after in pairwise([0, *seen])}
        assert max(steps) == count

    run(test)


def test_more_than_one_batch_is_read_in_the_end() -> None:
    async def test(setting: Setting) -> None:
        for _ in range(20):
            setting.lac.send(data_message(LCP_ECHO))
        await until(lambda: len(setting.events.frames) == 20)

    run(test)


def test_removal_returns_the_final_counters_once() -> None:
    async def test(setting: Setting) -> None:
        setting.lac.send(data_message(IP_PREFIX + PACKET))
        await until(lambda: setting.plane.counters(KEY).packets_in)
        final = setting.plane.remove(KEY)
        assert (final.packets_in, final.octets_in) == (1, len(PACKET))
        assert final.heard_at > 0
        assert setting.plane.remove(KEY) == SessionCounters()
        assert setting.plane.counters(KEY) == SessionCounters()
        assert setting.plane.session_count == 0

    run(test)


def test_frames_for_a_session_that_is_gone_are_counted() -> None:
    async def test(setting: Setting) -> None:
        setting.plane.send_frames(KEY, [LCP_ECHO])
        assert setting.lac.recv(100)[6:] == LCP_ECHO
        setting.plane.send_frames(99, iter([LCP_ECHO, LCP_ECHO]))
        assert setting.plane.plane_counters().frames_unsent == 2

    run(test)


def test_answers_go_where_they_are_told_and_options_change_at_once() -> None:
    async def test(setting: Setting) -> None:
        lost = udp_packet(FAR, "10.0.0.99")
        for _ in range(2):
            setting.device.kernel.send(lost)
        counters = setting.plane.plane_counters()
        await until(lambda: counters.no_session == 2)
        assert len(setting.icmp) == 1
        setting.plane.configure(PlaneOptions(icmp_rate=5, address=number("203.0.113.1")))
        setting.device.kernel.send(lost)
        await until(lambda: counters.no_session == 3)
        assert len(setting.icmp) == 2

    run(test)


def test_missing_number_is_given_up_by_the_loops_timer() -> None:
    async def test(setting: Setting) -> None:
        for ns in (0, 2):
            setting.lac.send(data_message(IP_PREFIX + PACKET, ns=ns))
        await until(lambda: setting.plane.counters(KEY).packets_in == 2)

    run(test)


def test_stopped_plane_reads_no_more_but_still_sends() -> None:
    async def test(setting: Setting) -> None:
        setting.plane.stop()
        setting.lac.send(data_message(LCP_ECHO))
        setting.plane.send_control([(b"bye", setting.lac.getsockname(), "")])
        assert setting.lac.recv(100) == b"bye"
        for _ in range(5):
            await asyncio.sleep(0)
        assert not setting.events.frames
        setting.plane.start()
        await until(lambda: setting.events.frames)

    run(test)


def test_device_that_is_gone_does_not_spin_the_loop(caplog: pytest.LogCaptureFixture) -> None:
    async def test(setting: Setting) -> None:
        hole = os.open("/", os.O_RDONLY)  # reading a directory fails
        try:
            os.dup2(hole, setting.device.fileno())
            setting.plane._read_device()
        finally:
            os.close(hole)
        assert setting.plane.plane_counters().tun_errors == 1
        assert "TUN device is gone" in caplog.text

    run(test)


def test_hooks_and_events_can_be_set_while_it_runs() -> None:
    async def test(setting: Setting) -> None:
        plane, late = setting.plane, FakeEvents()
        plane.events = late
        setting.lac.send(data_message(LCP_ECHO))
        await until(lambda: late.frames)
        plane.install(route(peer=setting.lac.getsockname(), hooked=True))
        plane.packet_hook_rx = plane.packet_hook_tx = lambda key, packet: None
        assert plane.packet_hook_rx is plane.packet_hook_tx
        setting.lac.send(data_message(IP_PREFIX + PACKET))
        setting.device.kernel.send(udp_packet(FAR, SUBSCRIBER))
        counters = plane.plane_counters()
        await until(lambda: counters.hook_drops_in and counters.hook_drops_out)

    run(test)


SLOW = 800
"""kbit/s: 100 bytes a millisecond, so that what waits is through in no time."""


def throttled(setting: Setting, **fields: object) -> None:
    setting.plane.install(
        route(peer=setting.lac.getsockname(), throttle_in=SLOW, throttle_out=SLOW, **fields)
    )


async def flood(setting: Setting, packets: int = 12) -> None:
    """More packets of 1,000 bytes than may pass at once."""
    packet = udp_packet(SUBSCRIBER, FAR, payload=bytes(972))
    for _ in range(packets):
        setting.lac.send(data_message(IP_PREFIX + packet))
    await until(lambda: setting.plane.plane_counters().throttle_delayed >= packets - 5)


def test_what_waits_for_its_credit_is_sent_by_the_loops_timer() -> None:
    async def test(setting: Setting) -> None:
        throttled(setting)
        await flood(setting)
        state = setting.plane.throttle_state(KEY)
        assert state is not None
        assert state.queued_in >= 5
        await until(lambda: setting.plane.counters(KEY).packets_in == 12)
        assert setting.plane.throttle_state(KEY) == state._replace(queued_in=0, passed_in=12)

    run(test)


def test_a_plane_that_is_started_again_sends_what_waits() -> None:
    async def test(setting: Setting) -> None:
        throttled(setting)
        await flood(setting)
        setting.plane.stop()
        setting.plane.start()
        await until(lambda: setting.plane.counters(KEY).packets_in == 12)

    run(test)


def test_a_packet_that_cannot_be_sent_does_not_hold_up_the_others() -> None:
    async def test(setting: Setting) -> None:
        failures: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, what: failures.append(what))
        throttled(setting)
        await flood(setting)
        write, calls = setting.plane._up._write, iter(range(1_000))

        def fail_once(packet: bytes) -> int | None:
            if next(calls) == 0:
                raise ValueError("a mistake of ours")
            return write(packet)

        setting.plane._up._write = fail_once
        await until(lambda: setting.plane.counters(KEY).packets_in == 11)
        assert len(failures) == 1

    run(test)


def test_a_session_that_is_removed_takes_what_waits_with_it() -> None:
    async def test(setting: Setting) -> None:
        throttled(setting)
        await flood(setting)
        passed = setting.plane.remove(KEY).packets_in
        await asyncio.sleep(0.05)
        counters = setting.plane.plane_counters()
        assert counters.throttle_drops == 12 - passed
        assert counters.tun_tx_packets == passed

    run(test)


def test_a_network_that_is_down_drops_what_waits() -> None:
    async def test(setting: Setting) -> None:
        throttled(setting)
        await flood(setting)
        throttled(setting, ip=0)
        state = setting.plane.throttle_state(KEY)
        assert state is not None
        assert state.queued_in == 0
        assert state.dropped_in == setting.plane.plane_counters().throttle_drops > 0

    run(test)


@pytest.mark.parametrize("rate", [0, SLOW])
def test_a_packet_whose_hook_ended_the_session_goes_nowhere(rate: int) -> None:
    async def test(setting: Setting) -> None:
        plane = setting.plane

        def end(key: int, packet: bytes) -> bytes:
            plane.remove(key)
            return packet

        plane.install(route(peer=setting.lac.getsockname(), hooked=True, throttle_in=rate))
        plane.packet_hook_rx = plane.packet_hook_tx = end
        setting.lac.send(data_message(IP_PREFIX + PACKET))
        await until(lambda: not plane.session_count)
        plane.install(route(peer=setting.lac.getsockname(), hooked=True, throttle_out=rate))
        setting.device.kernel.send(udp_packet(FAR, SUBSCRIBER))
        await until(lambda: not plane.session_count)
        with pytest.raises(BlockingIOError):
            setting.device.kernel.recv(2000)
        assert plane.plane_counters().socket_tx_packets == 0

    run(test)
