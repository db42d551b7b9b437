"""Fuzz entry for RADIUS replies: run it under a fuzzer, or feed it files by name.

python fuzz_radius.py FILE...
"""

import hashlib
import struct
import sys
from pathlib import Path

from l2tpns_core.radius.access import MAX_CLASSES, MAX_PROBLEMS, MAX_ROUTES, decode_access_reply
from l2tpns_core.radius.wire import Code, ReplyError, decode_reply, verify_reply

SECRET = b"fuzz"
AUTHENTICATOR = bytes(16)


def one_input(data: bytes) -> None:
    """Anything at all as a datagram, then as the attributes of a reply that is signed rightly.

    Nothing but ReplyError may leave the decoder, and that not once the reply is verified.
    """
    receive(data)
    if data:
        receive(signed((2, 3, 11)[data[0] % 3], data[1:]))


def receive(datagram: bytes) -> None:
    try:
        reply = decode_reply(datagram)
        verify_reply(reply, Code.ACCESS_REQUEST, AUTHENTICATOR, SECRET, False)
    except ReplyError:
        return
    verdict = decode_access_reply(reply)
    assert len(verdict.problems) <= MAX_PROBLEMS + 1
    assert len(verdict.routes) <= MAX_ROUTES
    assert len(verdict.classes) <= MAX_CLASSES
    assert all(0 < route.prefix_length <= 32 for route in verdict.routes)
    assert sum(len(values) for values in verdict.attributes.values()) <= len(datagram)


def signed(code: int, attributes: bytes) -> bytes:
    header = struct.pack("!BBH", code, 0, min(20 + len(attributes), 0xFFFF))
    digest = hashlib.md5(header + AUTHENTICATOR + attributes + SECRET).digest()
    return header + digest + attributes


if __name__ == "__main__":
    for name in sys.argv[1:]:
        one_input(Path(name).read_bytes())
