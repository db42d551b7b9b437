"""The log of what passes between LNS and LAC: it tells what matters and no password."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2tpns_core.lns.trace import TracedEvents, TracedPlane, trace_control, trace_frame
from support.memory import Lac, World, avp

PEER = ("192.0.2.9", 1701)


def traced_world() -> World:
    world = World()
    world.lns.plane = TracedPlane(world.plane, world.lns.tunnel_of)
    world.plane.events = TracedEvents(world.lns)
    return world


def test_a_login_is_traced_without_its_password(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "l2tpns")
    world = traced_world()
    assert Lac(world).open().call("alice", "a-secret-word").up
    text = caplog.text
    assert "SCCRQ" in text
    assert "*Host Name(lac)" in text
    assert "-> IPCP Configure-Nak" in text
    (tunnel_id,) = world.lns.endpoint.tunnels
    assert {record.tunnel for record in caplog.records if "ICRP" in record.message} == {tunnel_id}  # type: ignore[attr-defined]
    assert "a-secret-word" not in text
    assert b"a-secret-word".hex(" ")[:20] not in text


def test_a_password_that_the_lac_passes_on_is_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "l2tpns")
    body = avp(0, b"\0\x0c") + avp(33, b"a-secret-word")
    header = bytes.fromhex("c802") + (12 + len(body)).to_bytes(2, "big") + bytes(8)
    trace_control("<-", header + body, PEER)
    assert "ICCN *Proxy Authen Response((not shown))" in caplog.text
    assert "secret" not in caplog.text
    assert b"secret".hex(" ") not in caplog.text


def test_nothing_is_dumped_below_level_5(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "l2tpns")
    Lac(traced_world()).open().call()
    assert all(record.levelno > logging.DEBUG for record in caplog.records)
    assert "   0: " not in caplog.text


@given(st.binary(max_size=80), st.binary(max_size=80))
def test_anything_can_be_traced(datagram: bytes, frame: bytes) -> None:
    trace_control("<-", datagram, PEER)
    trace_frame("<-", 1 << 16 | 2, frame)
