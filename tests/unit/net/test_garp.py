"""The frame of a gratuitous ARP."""

import struct

from l2tpns_core.net.garp import announcement


def test_announcement_is_a_broadcast_request_for_the_senders_own_address() -> None:
    mac = bytes.fromhex("021122334455")
    frame = announcement(mac, 0xC0000201)
    assert len(frame) == 60
    assert frame[:6] == b"\xff" * 6
    assert frame[6:12] == mac
    assert frame[12:14] == b"\x08\x06"
    fields = struct.unpack_from(">HHBBH6sI6sI", frame, 14)
    assert fields == (1, 0x0800, 6, 4, 1, mac, 0xC0000201, bytes(6), 0xC0000201)
