"""What arrives at the end of a path: counted and dropped at once, so that it costs little."""

import os
import socket
from typing import Final

from l2tpns_core.lab.bench import assembler as asm
from l2tpns_core.lab.bench.assembler import R0, R1, R2, R6, R7, Program
from l2tpns_core.lab.bench.kernel import PROGRAM_TC, Array, attach_ingress, load
from l2tpns_core.lab.bench.load import (
    CLIENT_PORT,
    ETHERNET,
    FREE_PORT,
    INNER,
    IP,
    L2TP_PORT,
    UDP,
)
from l2tpns_core.lab.netns import Namespace

TC_NEXT, TC_DROP = -1, 2
IPV4, UDP_NUMBER = 0x0800, 17
KINDS: Final = 2


class Counter:
    """A tc program at an interface for the packets of the load, in L2TP or not; all else passes."""

    def __init__(self, space: Namespace, link: str) -> None:
        self._counts = Array("counts", 8 * KINDS)
        self._program = load(PROGRAM_TC, "count", program(self._counts))
        self._link = space.call(lambda: attach_ingress(self._program, socket.if_nametoindex(link)))

    def read(self) -> tuple[int, int]:
        """Packets so far: to the port of the load, and to the one after it."""
        plain, marked = self._counts.read("2Q")
        return plain, marked

    def close(self) -> None:
        for descriptor in (self._link, self._program):
            os.close(descriptor)
        self._counts.close()


def program(counts: Array) -> bytes:
    """Count by port and drop. One core writes: the numbers need no lock."""
    code = Program()
    code.move(R6, R1)
    code.load_packet(asm.HALF, 12)
    code.jump_if_value(R0, "!=", IPV4, "pass")
    code.load_packet(asm.BYTE, ETHERNET + 9)
    code.jump_if_value(R0, "!=", UDP_NUMBER, "pass")
    code.load_packet(asm.HALF, ETHERNET + IP)
    code.jump_if_value(R0, "==", CLIENT_PORT, "bare")
    code.jump_if_value(R0, "!=", L2TP_PORT, "pass")
    code.load_packet(asm.BYTE, ETHERNET + IP + UDP)
    code.jump_if_value(R0, ">=", 0x80, "pass")  # control
    code.load_packet(asm.HALF, INNER + IP + 2)
    code.jump("count")
    code.label("bare")
    code.load_packet(asm.HALF, ETHERNET + IP + 2)
    code.label("count")
    code.map_value(R7, counts.fd)
    code.jump_if_value(R0, "==", FREE_PORT, "add")
    code.jump_if_value(R0, "!=", FREE_PORT + 1, "pass")
    code.add_value(R7, 8)
    code.label("add")
    code.load(asm.DOUBLE, R2, R7)
    code.add_value(R2, 1)
    code.store(asm.DOUBLE, R7, 0, R2)
    code.exit(TC_DROP)
    code.label("pass")
    code.exit(TC_NEXT)
    return code.code()
