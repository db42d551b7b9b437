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
    exabgp = os.getppid()
    try:
        if relay(sys.argv[1]):
            return 0
    except OSError as error:
        print(f"relay: {error}", file=sys.stderr)
    if os.getppid() == exabgp:  # or it is gone, and somebody else is our parent
        os.kill(exabgp, signal.SIGKILL)
    return 1


def relay(path: str) -> bool:
    """Copy until one of both ends; whether it was ExaBGP. Raises OSError, too, when the daemon is
    gone."""
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as daemon,
        selectors.DefaultSelector() as selector,
    ):
        daemon.connect(path)
        selector.register(0, selectors.EVENT_READ)
        selector.register(daemon, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj == 0:
                    data = os.read(0, CHUNK)
                    if not data:
                        return True
                    daemon.sendall(data)
                    continue
                data = daemon.recv(CHUNK)
                if not data:
                    return False
                while data:
                    data = data[os.write(1, data) :]


if __name__ == "__main__":
    os.set_blocking(0, True)
    os.set_blocking(1, True)
    sys.exit(main())
