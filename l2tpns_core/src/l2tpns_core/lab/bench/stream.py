"""TCP through a candidate: `python stream.py ROLE ADDRESS SOURCE FLOWS SECONDS`, where ROLE is
`receive` (prints the bytes a second that came) or `send`. Imports nothing of ours, to start fast.
"""

import socket
import sys
import threading
import time
from typing import Final

PORT: Final = 5001
CHUNK: Final = 1 << 18
WARM_UP_S: Final = 0.3
CONNECT_S: Final = 5.0


def main(argv: list[str]) -> None:
    role, address, source, flows, seconds = argv
    if role == "receive":
        print(round(receive(address, int(flows), float(seconds))))
    else:
        send(address, source, int(flows))


def receive(address: str, flows: int, seconds: float) -> float:
    """Take so many connections; return the bytes a second that come over all of them."""
    counts = [0] * flows
    with socket.create_server((address, PORT), backlog=flows) as server:
        server.settimeout(CONNECT_S)
        print("listening", flush=True)
        for number in range(flows):
            connection, _ = server.accept()
            threading.Thread(target=_drain, args=(connection, counts, number), daemon=True).start()
    time.sleep(WARM_UP_S)
    before, started = sum(counts), time.monotonic()
    time.sleep(seconds)
    return (sum(counts) - before) / (time.monotonic() - started)


def _drain(connection: socket.socket, counts: list[int], number: int) -> None:
    buffer = bytearray(CHUNK)
    while got := connection.recv_into(buffer):
        counts[number] += got


def send(address: str, source: str, flows: int) -> None:
    """Send over so many connections until the other end goes."""
    connections = [
        socket.create_connection((address, PORT), CONNECT_S, (source, 0)) for _ in range(flows)
    ]
    threads = [threading.Thread(target=_fill, args=(one,), daemon=True) for one in connections]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _fill(connection: socket.socket) -> None:
    data = memoryview(bytes(CHUNK))
    connection.settimeout(None)
    try:
        while True:
            connection.sendall(data)
    except OSError:
        return


if __name__ == "__main__":
    main(sys.argv[1:])
