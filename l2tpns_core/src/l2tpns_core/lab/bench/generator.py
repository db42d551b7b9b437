"""The generator: an XDP program that a core runs over and over, each time for the next frame.

The kernel lets such frames loose as if they had come off a wire (BPF_PROG_TEST_RUN, live frames),
which is several times as fast as a socket: millions a second from one core. The program also keeps
the pace: it lets a frame fall when its time has not come.
"""

import os
import signal
import sys
import threading
import time
from typing import Final

from l2tpns_core.lab.bench import assembler as asm
from l2tpns_core.lab.bench.assembler import R0, R1, R2, R3, R6, R7, R8, R9, R10, Program
from l2tpns_core.lab.bench.kernel import PROGRAM_XDP, Array, load, run_live
from l2tpns_core.lab.bench.load import Load
from l2tpns_core.lab.netns import Namespace, set_namespace

XDP_DROP, XDP_TX = 1, 3
NEXT, INTERVAL, BURST, SENT, COUNT = range(0, 40, 8)
"""Where the state has its numbers of 64 bits; times in nanoseconds."""
STATE_SIZE: Final = 40
ROW: Final = 16
BATCH: Final = 32
"""Frames that go to the other end at once, as those that a network card reports together."""
RUN: Final = (1 << 31) - 1
"""Runs of the program in one system call, which a signal ends: to begin one takes milliseconds."""
NUDGE_S: Final = 0.01
BURST_NS: Final = 50_000
"""A generator that was held up makes up for so much time."""
PRIORITY: Final = 1
NICEST: Final = -20


class Generator:
    """Frames of a load out of an interface, from a thread on a core of its own."""

    def __init__(
        self, space: Namespace, ifindex: int, load_: Load, core: int, *, shared: bool = False
    ) -> None:
        """`shared`: another generator works on the same core, so they take turns."""
        self._space, self._ifindex, self._core, self._shared = space, ifindex, core, shared
        self._frame = load_.frame
        self._state = Array("state", STATE_SIZE)
        self._rows = Array("rows", ROW, len(load_.values))
        self._rows.put(
            0, b"".join(load_.row(n).ljust(ROW, b"\0") for n in range(len(load_.values)))
        )
        self._state.write("Q", COUNT, len(load_.values))
        self._program = load(PROGRAM_XDP, "generate", program(load_, self._state, self._rows))
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._failure: Exception | None = None
        self.cpu_seconds = 0.0
        """Of the thread that has ended."""

    @property
    def sent(self) -> int:
        """Frames so far."""
        return self._state.read("Q", SENT)[0]

    def start(self, rate: float = 0.0) -> None:
        """Send, `rate` frames a second or as many as the core can."""
        self._state.write("Q", INTERVAL, round(BATCH * 1e9 / rate) if rate else 0)
        self._state.write("Q", BURST, BURST_NS)
        self._stop.clear()
        signal.signal(signal.SIGUSR1, lambda *_: None)  # to end a system call, it must be caught
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop sending. Raises LabError when the kernel did not do it."""
        self._stop.set()
        while self._thread is not None and self._thread.is_alive():
            if self._thread.ident is not None:
                signal.pthread_kill(self._thread.ident, signal.SIGUSR1)
            self._thread.join(NUDGE_S)
        self._thread = None
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        self.stop()
        os.close(self._program)
        self._rows.close()
        self._state.close()

    def _run(self) -> None:
        try:
            set_namespace(self._space.descriptor)
            os.sched_setaffinity(0, {self._core})
            if self._shared:
                os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
                os.setpriority(os.PRIO_PROCESS, 0, NICEST)
            else:
                os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
            before = time.thread_time()
            while not self._stop.is_set():
                run_live(self._program, self._frame, self._ifindex, RUN, BATCH)
            self.cpu_seconds = time.thread_time() - before
        except Exception as error:  # noqa: BLE001  (raised again by stop)
            self._failure = error


def program(load_: Load, state: Array, rows: Array) -> bytes:
    """The program for a load: keep the pace, take a session by chance, write its headers, send."""
    code = Program()
    code.move(R6, R1)
    code.map_value(R7, state.fd)
    _keep_pace(code)
    _take_row(code, rows)
    code.load(asm.WORD, R2, R6, 0)
    code.load(asm.WORD, R3, R6, 4)
    code.move(R9, R2)
    code.add_value(R9, load_.headers)
    code.jump_if(R9, ">", R3, "drop")
    _write_headers(code, load_)
    code.exit(XDP_TX)
    code.label("drop")
    code.exit(XDP_DROP)
    return code.code()


def _keep_pace(code: Program) -> None:
    """Go on within a batch, or when its time has come; what is long past is not made up for."""
    code.load(asm.DOUBLE, R9, R7, SENT)
    code.move(R1, R9)
    code.mask(R1, BATCH - 1)
    code.jump_if_value(R1, "!=", 0, "go on")
    code.call(asm.KTIME_GET_NS)
    code.load(asm.DOUBLE, R1, R7, NEXT)
    code.jump_if(R1, ">", R0, "drop")
    code.load(asm.DOUBLE, R2, R7, INTERVAL)
    code.add(R1, R2)
    code.load(asm.DOUBLE, R2, R7, BURST)
    code.subtract(R0, R2)
    code.jump_if(R1, ">=", R0, "on time")
    code.move(R1, R0)
    code.label("on time")
    code.store(asm.DOUBLE, R7, NEXT, R1)
    code.label("go on")
    code.add_value(R9, 1)
    code.store(asm.DOUBLE, R7, SENT, R9)


def _take_row(code: Program, rows: Array) -> None:
    """R8 is what one session has of its own."""
    code.call(asm.PRANDOM_U32)
    code.load(asm.DOUBLE, R1, R7, COUNT)
    code.modulo(R0, R1)
    code.store(asm.WORD, R10, -4, R0)
    code.move(R2, R10)
    code.add_value(R2, -4)
    code.map(R1, rows.fd)
    code.call(asm.MAP_LOOKUP)
    code.jump_if_value(R0, "==", 0, "drop")
    code.move(R8, R0)


def _write_headers(code: Program, load_: Load) -> None:
    """Frames come round again as the receivers left them, so all headers are written each time."""
    at = 0
    while at < load_.headers:
        size = next(n for n in (8, 4, 2, 1) if at + n <= load_.headers)
        value = int.from_bytes(load_.frame[at : at + size], sys.byteorder)
        code.set(R1, value)
        code.store(asm.SIZES[size], R2, at, R1)
        at += size
    at = 0
    for field in load_.fields:
        for offset in range(0, field.size, 2):
            code.load(asm.HALF, R1, R8, at)
            code.store(asm.HALF, R2, field.offset + offset, R1)
            at += 2
