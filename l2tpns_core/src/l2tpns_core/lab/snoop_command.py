"""`l2tpns-lab snoop`: receive the copies of an interception on the command line."""

import argparse
import asyncio
import os
import signal
import sys
import time
from pathlib import Path
from typing import Final, TextIO

from l2tpns_core.lab.dial_command import parse_address, parse_amount
from l2tpns_core.lab.netns import LabError
from l2tpns_core.lab.snoop import NS, Copy, PcapFile, SnoopReceiver, describe

DEFAULT_PORT: Final = 9000
STDOUT: Final = "-"

DESCRIPTION = """\
Receive the packets of intercepted subscribers, as the LNS sends them: one raw IP packet in each
UDP datagram.

It prints a line for each packet and can write them to a pcap file for tshark or Wireshark, which
is whole at any moment, even if the receiver is killed."""

EPILOG = """\
examples:
  look at what comes:
    l2tpns-lab snoop
  ten packets, or what comes in a minute, to a file:
    l2tpns-lab snoop --write alice.pcap --count 10 --seconds 60
  straight into tshark:
    l2tpns-lab snoop --write - | tshark -r - -n
  in the LNS's startup-config, to send copies here by default:
    set snoop_host 192.0.2.9
    set snoop_port 9000

exit status: 0 done; 1 fewer packets than --count came in --seconds; 2 wrong usage, or the port or
the file cannot be used."""


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "snoop",
        help="receive the packets of intercepted subscribers",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--bind",
        type=parse_address,
        default="0.0.0.0",
        metavar="ADDR",
        help="where to listen (default: every address)",
    )
    parser.add_argument(
        "--port",
        type=_port,
        default=DEFAULT_PORT,
        metavar="N",
        help=f"default: {DEFAULT_PORT}; 0: any",
    )
    parser.add_argument(
        "--write",
        metavar="FILE",
        help="write a pcap file, in place of one that is there; - is standard output",
    )
    parser.add_argument("--count", type=_positive, metavar="N", help="stop after N packets")
    parser.add_argument("--seconds", type=parse_amount, metavar="N", help="stop after N seconds")
    parser.add_argument("--quiet", action="store_true", help="no line for each packet")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Receive until enough came, time is up, or SIGINT or SIGTERM; return the exit status."""
    try:
        receiver = SnoopReceiver(args.bind, args.port)
    except OSError as error:
        raise LabError(
            f"cannot listen on {args.bind} port {args.port}: {error.strerror}"
        ) from error
    try:
        pcap = _open_pcap(args.write)
        capture = _Capture(receiver, pcap, args)
        try:
            return asyncio.run(capture.run())
        finally:
            if pcap is not None:
                pcap.close()
    finally:
        receiver.close()


def _open_pcap(name: str | None) -> PcapFile | None:
    if name is None:
        return None
    if name == STDOUT and os.isatty(1):
        raise LabError("a terminal cannot show a pcap file: redirect standard output")
    try:
        return PcapFile(None if name == STDOUT else Path(name))
    except OSError as error:
        raise LabError(f"cannot write {_shown(name)}: {error.strerror}") from error


class _Capture:
    """One run of the command."""

    def __init__(
        self, receiver: SnoopReceiver, pcap: PcapFile | None, args: argparse.Namespace
    ) -> None:
        self._receiver = receiver
        self._pcap = pcap
        self._name: str = args.write or ""
        self._count: int | None = args.count
        self._seconds: float | None = args.seconds
        self._lines: TextIO | None = None
        if not args.quiet:
            self._lines = sys.stderr if self._name == STDOUT else sys.stdout
        self._stopped = asyncio.Event()
        self._is_interrupted = False
        self._error: LabError | None = None

    async def run(self) -> int:
        """Raises LabError."""
        loop = asyncio.get_running_loop()
        for sig in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(sig, self._interrupt)
        loop.add_reader(self._receiver.socket, self._take)
        host, port = self._receiver.address
        print(f"snoop: ready on {host} port {port}", file=sys.stderr, flush=True)
        try:
            async with asyncio.timeout(self._seconds):
                await self._stopped.wait()
        except TimeoutError:
            pass
        loop.remove_reader(self._receiver.socket)
        if self._error is not None:
            raise self._error
        print(self._summary(), file=sys.stderr)
        missing = self._count is not None and self._receiver.counters.packets < self._count
        return 1 if missing and not self._is_interrupted else 0

    def _interrupt(self) -> None:
        self._is_interrupted = True
        self._stopped.set()

    def _take(self) -> None:
        counters = self._receiver.counters
        left = None if self._count is None else self._count - counters.packets
        copies = self._receiver.take() if left is None else self._receiver.take(left)
        try:
            if self._pcap is not None and copies:
                self._pcap.write(copies)
        except BrokenPipeError:  # who reads has seen enough
            self._interrupt()
            return
        except OSError as error:
            self._error = LabError(f"cannot write {_shown(self._name)}: {error.strerror}")
            self._stopped.set()
            return
        self._print(copies)
        if self._count is not None and counters.packets >= self._count:
            self._stopped.set()

    def _print(self, copies: list[Copy]) -> None:
        if self._lines is None or not copies:
            return
        try:
            for copy in copies:
                print(line_of(copy), file=self._lines)
            self._lines.flush()
        except BrokenPipeError:
            self._lines = None
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # for the flush at exit
            if self._pcap is None:
                self._interrupt()

    def _summary(self) -> str:
        counters = self._receiver.counters
        text = f"snoop: {counters.packets} packets, {counters.bytes} bytes"
        if counters.not_ip:
            text += f", {counters.not_ip} datagrams that are no IP packet"
        if counters.lost:
            text += f", {counters.lost} lost because they came too fast"
        return text


def line_of(copy: Copy) -> str:
    """A packet as a line for people, with the time of day."""
    seconds, nanoseconds = divmod(copy.time_ns, NS)
    clock = time.strftime("%H:%M:%S", time.localtime(seconds))
    return f"{clock}.{nanoseconds // 1_000_000:03} {describe(copy.packet)}"


def _shown(name: str) -> str:
    return "standard output" if name == STDOUT else name


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"no port: {text!r}")
    return int(text)


def _positive(text: str) -> int:
    if not text.isdecimal() or len(text) > 18 or int(text) < 1:
        raise argparse.ArgumentTypeError(f"no number above 0: {text!r}")
    return int(text)
