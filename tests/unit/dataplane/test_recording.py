"""The plane that remembers instead of forwarding."""

import pytest

from l2tpns_core.dataplane.plane import DataPlane, SessionCounters
from l2tpns_core.dataplane.recording import (
    ControlSent,
    FrameSent,
    RecordingPlane,
    RouteInstalled,
    RouteRemoved,
)
from unit.dataplane.fakes import KEY, LAC, FakeEvents, route


def test_operations_are_kept_in_order() -> None:
    plane: DataPlane = (recorder := RecordingPlane())
    plane.install(route())
    plane.send_frames(KEY, [b"frame"])
    plane.send_control([(b"datagram", LAC, "192.0.2.1")])
    final = plane.remove(KEY)
    assert list(recorder.operations) == [
        RouteInstalled(route()),
        FrameSent(KEY, b"frame"),
        ControlSent(b"datagram", LAC, "192.0.2.1"),
        RouteRemoved(KEY, final),
    ]
    assert recorder.routes == {}


def test_what_was_sent_is_taken_once() -> None:
    plane = RecordingPlane()
    plane.install(route())
    plane.send_frames(KEY, [b"one", b"two"])
    plane.send_control([(b"datagram", LAC, "")])
    plane.remove(KEY)
    assert plane.take_frames(KEY) == [b"one", b"two"]
    assert plane.take_frames(KEY) == []
    assert plane.take_control() == [ControlSent(b"datagram", LAC, "")]
    assert plane.take_control() == []


def test_frames_for_unknown_sessions_are_counted_not_sent() -> None:
    plane = RecordingPlane()
    plane.send_frames(KEY, [b"frame"])
    assert plane.take_frames(KEY) == []
    assert plane.plane_counters().frames_unsent == 1


def test_injected_usage_is_reported_until_the_session_goes() -> None:
    plane = RecordingPlane()
    with pytest.raises(KeyError):
        plane.set_usage(KEY, SessionCounters(1))
    plane.install(route())
    plane.set_usage(KEY, SessionCounters(1, 2, 3, 4, 5.0, 6.0))
    assert plane.counters(KEY) == SessionCounters(1, 2, 3, 4, 5.0, 6.0)
    assert plane.remove(KEY) == SessionCounters(1, 2, 3, 4, 5.0, 6.0)
    assert plane.remove(KEY) == plane.counters(KEY) == SessionCounters()


def test_injected_traffic_reaches_the_control_plane() -> None:
    events = FakeEvents()
    plane = RecordingPlane()
    with pytest.raises(RuntimeError):
        plane.receive_control(b"datagram", LAC, "", 1.0)
    plane.events = events
    plane.install(route())
    plane.receive_control(b"datagram", LAC, "192.0.2.1", 1.0)
    plane.receive_frame(KEY, b"frame", 2.0)
    plane.receive_frame(KEY + 1, b"frame", 3.0)
    assert events.controls == [(b"datagram", LAC, "192.0.2.1", 1.0)]
    assert events.frames == [(KEY, b"frame", 2.0)]
    assert [report[:2] for report in events.unknown] == [(1, 6)]
    assert plane.counters(KEY).heard_at == 2.0
