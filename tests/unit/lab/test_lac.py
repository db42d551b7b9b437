"""The LAC against a scripted LNS, over real sockets in virtual time."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from l2tpns_core.lab import (
    CallEnd,
    CallError,
    CallOptions,
    Impairments,
    Lac,
    LacOptions,
    PppOptions,
    TunnelEnd,
    TunnelError,
    TunnelOptions,
)
from l2tpns_core.lab.avp import Attr, Avp, Kind, u16
from l2tpns_core.lab.channel import ChannelOptions
from l2tpns_core.lab.transport import Clock, Port
from unit.lab.scripted_lns import Manners, ScriptedLns
from unit.lab.virtual_loop import run

Scene = Callable[[Lac, ScriptedLns], Awaitable[None]]


def play(scene: Scene, manners: Manners | None = None, **options: object) -> list[str]:
    """Run a scene with a LAC and an LNS; return the LAC's violations."""

    async def main() -> list[str]:
        clock = Clock(asyncio.get_running_loop())
        lns = ScriptedLns(clock, manners)
        lac = Lac(LacOptions(lns_port=lns.port, **options))  # type: ignore[arg-type]
        try:
            await scene(lac, lns)
            assert lns.complaints == []
            return [violation.text for violation in lac.violations.kept]
        finally:
            lac.close()
            lns.close()
            clock.close()

    return run(main())


def alice(**options: object) -> CallOptions:
    return CallOptions(PppOptions("alice", "wonder"), **options)  # type: ignore[arg-type]


def with_secret(secret: bytes, **options: object) -> TunnelOptions:
    return TunnelOptions(secret=secret, **options)  # type: ignore[arg-type]


def test_a_call_comes_up_moves_packets_and_hangs_up() -> None:
    async def scene(lac: Lac, lns: ScriptedLns) -> None:
        tunnel = await lac.open_tunnel()
        assert tunnel.host_name == "scripted"
        client = tunnel.call(alice(calling_number="0123", called_number="456"))
        assert await client.up == "10.0.1.2"
        assert client.dns == ("10.0.0.53", "10.0.0.54")
        assert lns.call.request_avps[Attr.CALLING_NUMBER] == b"0123"
        client.ping("192.0.2.1")
        client.ping("192.0.2.1")
        client.send_udp("192.0.2.1", 53, b"question")
        await asyncio.sleep(1)
        assert (client.packets_sent, client.echo_replies) == (3, 2)
        assert len(lns.packets) == 3
        client.hangup()
        end = await client.down
        assert (end.by, end.result, end.text) == ("CDN", 1, "subscriber hung up")
        assert lac.addresses == {}
        tunnel.close()
        assert await tunnel.closed == TunnelEnd("local", 1)
        assert lns.tunnel.stop_result == (1, 0, "")

    assert play(scene) == []


def test_both_sides_prove_the_secret() -> None:
    async def scene(lac: Lac, lns: ScriptedLns) -> None:
        await lac.open_tunnel()
        await asyncio.sleep(1)

    manners = Manners(secret=b"s3cret", challenge=True)
    assert play(scene, manners, tunnel=with_secret(b"s3cret")) == []


def test_an_lns_with_another_secret_is_left() -> None:
    async def scene(lac: Lac, lns: ScriptedLns) -> None:
        with pytest.raises(TunnelError, match="4/0 challenge response missing or wrong"):
            await lac.open_tunnel()
        await asyncio.sleep(1)
        assert lns.tunnel.stop_result == (4, 0, "challenge response missing or wrong")

    assert play(scene, Manners(secret=b"other"), tunnel=with_secret(b"s3cret")) == []


def test_an_lns_that_challenges_a_lac_without_secret_is_left() -> None:
    async def scene(lac: Lac, lns: ScriptedLns) -> None:
        with pytest.raises(TunnelError, match="challenged, but we know no secret"):
            await lac.open_tunnel()

    assert play(scene, Manners(secret=b"x", challenge=True)) == []


def test_attributes_are_hidden_on_demand(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []
    send_now = Port._send_now

    def watched(self: Port, datagram: bytes, to: tuple[str, int]) -> None:
        seen.append(datagram)
        send_now(self, datagram, to)

    async def scene(lac: Lac, lns: ScriptedLns) -> None:
        tunnel = await lac.open_tunnel()
        await tunnel.call(alice(calling_number="0123456789")).up
        assert lns.call.request_avps[Attr.CALLING_NUMBER] == b"0123456789"

    monkeypatch.setattr(Port, "_send_now", watched)
    options = with_secret(b"s3cret", hide_avps=True)
    assert play(scene, Manners(secret=b"s3cret"), tunnel=options) == []
    assert seen
    assert not any(b"0123456789" in datagram for datagram in seen)


def test_a_refused_tunnel_tells_why() -> None:
    async def scene(lac: Lac, lns: ScriptedLns) -> None:
        with pytest.raises(TunnelError, match="StopCCN 2/0 go away"):
            await lac.open_tunnel()
        assert lac.results == {"StopCCN 2/0 go away": 1}

    assert play(scene, Manners(refuse_tunnel=(2, "go away"))) == []


def test_a_silent_lns_is_given_up() -> None:
    async def scene(lac: Lac, lns: ScriptedLns) -> None:
        lac.options.lns_port = 1  # nobody is there
        with pytest.raises(TunnelError, match="timeout"):
            await lac.open_tunnel()

    assert play(scene) == []


def test_a_refused_call_tells_why() -> None:
    async def scene(lac: Lac, lns: ScriptedLns) -> None:
        tunnel = await lac.open_tunnel()
        client = tunnel.call(alice())
        with pytest.raises(CallError, match="CDN 4/0 no resources"):
            await client.up
        assert client.end == CallEnd("CDN", 4, 0, "no resources")
        assert tunnel.calls == {}

    assert play(scene, Manners(refuse_call=(4, "no resources"))) == []


def test_a_wrong_password_is_told_from_other_failures() -> None:
    async def scene(lac: Lac, lns: ScriptedLns) -> None:
        tunnel = await lac.open_tunnel()
        client = tunnel.call(alice())
        with pytest.raises(CallError, match="login refused"):
            await client.up
        assert client.ppp.refused

    assert play(scene, Manners(wrong_passwords=frozenset({b"wonder"}))) == []


def test_sequencing_numbers_data_both_ways() -> None:
    async def scene(lac: Lac, lns: ScriptedLns) -> None:
        tunnel = await lac.open_tunnel()
        client = tunnel.call(alice(sequencing=True))
        await client.up
        assert Attr.SEQUENCING_REQUIRED in lns.call.connect_avps
        assert client.data_ns == lns.call.ns > 0

    assert play(scene) == []


def test_an_lns_that_ignores_required_sequencing_is_found_out() -> None:
    async def scene(lac: Lac, lns: ScriptedLns) -> None:
        tunnel = await lac.open_tunnel()
        await tunnel.call(alice(sequencing=True)).up

    violations = play(scene, Manners(numbers_data=False))
    assert set(violations) == {"data without a sequence number although sequencing is required"}


def test_an_address_given_twice_is_found_out() -> None:
    async def scene(lac: Lac, lns: ScriptedLns) -> None:
        tunnel = await lac.open_tunnel()
        first = tunnel.call(alice())
        await first.up
        await tunnel.call(alice()).up

    [violation] = play(scene, Manners(same_address=True))
    assert violation.startswith("address 10.0.1.1 is also the one of ")


def test_an_address_that_was_given_back_may_be_given_again() -> None:
    async def scene(lac: Lac, lns: ScriptedLns) -> None:
        tunnel = await lac.open_tunnel()
        for how in ("ppp", "call", "vanish", "ppp"):
            client = tunnel.call(alice())
            await client.up
            client.hangup(how)

    assert play(scene, Manners(same_address=True)) == []


def test_a_packet_for_somebody_else_is_found_out() -> None:
    async def scene(lac: Lac, lns: ScriptedLns) -> None:
        tunnel = await lac.open_tunnel()
        client = tunnel.call(alice())
        await client.up
        client.ping("192.0.2.1")
        await asyncio.sleep(1)
        assert client.echo_replies == 0

    assert play(scene, Manners(misdirect_replies=True)) == ["a packet to 10.0.1.3 reached 10.0.1.2"]


@pytest.mark.parametrize(
    ("kind", "change", "violation"),
    [
        (Kind.SCCRP, lambda avps: avps[:3], "SCCRP without AVP 9"),
        (Kind.SCCRP, lambda avps: [*avps, avps[2]], "AVP 7 twice"),
        (Kind.ICRP, lambda _: [Avp(Attr.ASSIGNED_SESSION_ID, u16(0))], "ICRP with session id 0"),
        (Kind.ICRP, lambda avps: [*avps, Avp(Attr.RESULT_CODE, u16(1))], "ICRP with AVP 1"),
    ],
)
def test_wrong_messages_are_found_out(
    kind: int, change: Callable[[list[Avp]], list[Avp]], violation: str
) -> None:
    async def scene(lac: Lac, lns: ScriptedLns) -> None:
        tunnel = lac.start_tunnel()
        await asyncio.sleep(0.5)
        if tunnel.opened_at is not None:
            tunnel.call(alice())
            await asyncio.sleep(0.5)

    manners = Manners(change=lambda got, avps: change(avps) if got == kind else avps)
    assert violation in play(scene, manners)


def test_a_session_id_given_twice_is_found_out() -> None:
    async def scene(lac: Lac, lns: ScriptedLns) -> None:
        lns.next_session_id = lambda: 55  # type: ignore[method-assign]
        tunnel = await lac.open_tunnel()
        tunnel.call(alice())
        tunnel.call(alice())
        await asyncio.sleep(1)

    assert "ICRP with session id 55, which another call has" in play(scene)


def test_data_for_a_call_that_never_was_is_found_out() -> None:
    async def scene(lac: Lac, lns: ScriptedLns) -> None:
        tunnel = await lac.open_tunnel()
        client = tunnel.call(alice())
        await client.up
        call = lns.call
        call.theirs = client.session_id + 1 if client.session_id < 65_535 else 1
        lns.tunnel.data(call, b"\xff\x03\x00\x21")
        await asyncio.sleep(0.1)

    [violation] = play(scene)
    assert violation.startswith("data for unknown session ")


def test_data_long_after_the_call_is_found_out_and_data_right_after_is_not() -> None:
    async def scene(lac: Lac, lns: ScriptedLns) -> None:
        tunnel = await lac.open_tunnel()
        client = tunnel.call(alice())
        await client.up
        call = lns.call
        client.hangup("call")
        lns.tunnel.data(call, b"\xff\x03\x00\x21")
        await asyncio.sleep(0.1)
        assert (lac.late_data, len(lac.violations)) == (1, 0)
        await asyncio.sleep(2)
        lns.tunnel.data(call, b"\xff\x03\x00\x21")
        await asyncio.sleep(0.1)

    [violation] = play(scene)
    assert violation.endswith("which is over")


def test_when_no_cdn_follows_the_end_of_the_link_the_lac_sends_one() -> None:
    async def scene(lac: Lac, lns: ScriptedLns) -> None:
        tunnel = await lac.open_tunnel()
        client = tunnel.call(alice(cdn_grace_s=2.0))
        await client.up
        before = lac.clock.now()
        client.hangup()
        end = await client.down
        assert (end.by, end.result) == ("local", 1)
        assert 2.0 <= lac.clock.now() - before < 2.1
        await asyncio.sleep(1)
        assert lns.tunnel.calls == {}

    assert play(scene, Manners(cdn_after_terminate=False)) == []


def test_a_stopccn_of_the_lns_ends_every_call() -> None:
    async def scene(lac: Lac, lns: ScriptedLns) -> None:
        tunnel = await lac.open_tunnel()
        clients = [tunnel.call(alice()) for _ in range(3)]
        for client in clients:
            await client.up
        lns.tunnel.stop(6, "shutting down")
        assert await tunnel.closed == TunnelEnd("StopCCN", 6, 0, "shutting down")
        assert {client.end for client in clients} == {CallEnd("StopCCN", 6, 0, "shutting down")}
        await asyncio.sleep(30)
        assert lns.tunnel.channel.idle  # it was acknowledged

    assert play(scene) == []


def test_a_vanished_client_sends_and_hears_nothing_while_the_tunnel_lives() -> None:
    async def scene(lac: Lac, lns: ScriptedLns) -> None:
        tunnel = await lac.open_tunnel()
        client = tunnel.call(alice())
        await client.up
        heard = len(lns.call.frames)
        client.vanish()
        client.ping("192.0.2.1")
        lns.tunnel.ppp(lns.call, 0xC021, 9, 1, b"\x11\x22\x33\x44")
        lns.tunnel.send(Kind.HELLO, [])
        await asyncio.sleep(1)
        assert len(lns.call.frames) == heard
        assert lns.tunnel.channel.idle
        assert tunnel.hellos_received == 1

    assert play(scene) == []


def test_a_vanished_tunnel_acknowledges_nothing() -> None:
    async def scene(lac: Lac, lns: ScriptedLns) -> None:
        tunnel = await lac.open_tunnel()
        await asyncio.sleep(1)
        tunnel.vanish()
        lns.tunnel.send(Kind.HELLO, [])
        await asyncio.sleep(60)
        assert lns.tunnel.channel.failed

    assert play(scene) == []


def test_proxy_attributes_carry_what_lac_and_client_agreed_on() -> None:
    async def scene(lac: Lac, lns: ScriptedLns) -> None:
        tunnel = await lac.open_tunnel()
        client = tunnel.call(CallOptions(PppOptions("alice", "wonder", ("pap",)), proxy=True))
        await client.up
        avps = lns.call.connect_avps
        assert avps[Attr.PROXY_AUTH_TYPE] == u16(3)
        assert avps[Attr.PROXY_AUTH_NAME] == b"alice"
        assert avps[Attr.PROXY_AUTH_RESPONSE] == b"wonder"
        assert avps[Attr.LAST_RECEIVED_LCP] == avps[Attr.INITIAL_RECEIVED_LCP]
        assert avps[Attr.LAST_SENT_LCP][:4] == b"\x03\x04\xc0\x23"

    assert play(scene) == []


def test_the_first_frames_are_lost_while_the_client_is_not_attached() -> None:
    async def scene(lac: Lac, lns: ScriptedLns) -> None:
        tunnel = await lac.open_tunnel()
        client = tunnel.call(alice(attach_delay_s=0.1, trace=True))
        await asyncio.sleep(0.05)
        assert client.trace is not None
        assert all(ours for _, ours, _ in client.trace)
        assert not client.is_up

    play(scene)


def test_calls_come_up_in_spite_of_a_bad_line() -> None:
    async def scene(lac: Lac, lns: ScriptedLns) -> None:
        tunnel = await lac.open_tunnel()
        clients = [tunnel.call(alice()) for _ in range(40)]
        for client in clients:
            await client.up
        assert lac.transport_counters.impaired_lost > 0
        assert lac.transport_counters.impaired_delayed > 0
        assert lac.channel_counters.retransmitted > 0
        assert len({client.ip for client in clients}) == 40
        tunnel.close()
        await tunnel.closed

    bad = Impairments(loss=15, duplicate=15, reorder=15)
    tunnel = TunnelOptions(channel=ChannelOptions(max_retransmits=20))
    assert play(scene, impairments=bad, tunnel=tunnel) == []


def test_each_tunnel_may_have_a_port_of_its_own() -> None:
    async def scene(lac: Lac, lns: ScriptedLns) -> None:
        await asyncio.gather(lac.open_tunnel(), lac.open_tunnel())
        ports = {tunnel.peer[1] for tunnel in lns.tunnels.values()}
        assert len(ports) == (2 if lac.options.source_ports else 1)

    assert play(scene, source_ports=True) == []
    assert play(scene, source_ports=False) == []
