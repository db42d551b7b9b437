"""Joins ExaBGP to the daemon: run by ExaBGP with the path of a Unix socket, it copies what ExaBGP
says to the daemon and what the daemon says to ExaBGP.

When the daemon is gone, ExaBGP is killed: without a word to its peers, so that those with graceful
restart keep the routes for the next daemon.
"""

import os
import selectors
import signal
import socket
import sys
from typing import Final

CHUNK: Final = 65_536


def main() -> int:
    daemon = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    daemon.connect(sys.argv[1])
    with selectors.DefaultSelector() as selector:
        selector.register(0, selectors.EVENT_READ)
        selector.register(daemon, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj == 0:
                    data = os.read(0, CHUNK)
                    if not data:
                        return 0
                    daemon.sendall(data)
                    continue
                data = receive(daemon)
                if not data:
                    os.kill(os.getppid(), signal.SIGKILL)
                    return 1
                while data:
                    data = data[os.write(1, data) :]


def receive(daemon: socket.socket) -> bytes:
    try:
        return daemon.recv(CHUNK)
    except OSError:
        return b""


if __name__ == "__main__":
    os.set_blocking(0, True)
    os.set_blocking(1, True)
    sys.exit(main())
