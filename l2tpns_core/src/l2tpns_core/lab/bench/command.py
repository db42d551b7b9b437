"""`l2tpns-lab bench` on the command line."""

import argparse
import asyncio
import json
import os
import shlex
import signal
import sys
import tempfile
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Final

from l2tpns_core.lab.bench import document, pictures
from l2tpns_core.lab.bench.candidates import NAMES
from l2tpns_core.lab.bench.report import MEASURES, Report, aims_of, machine
from l2tpns_core.lab.bench.run import Run
from l2tpns_core.lab.bench.turns import Options
from l2tpns_core.lab.netns import LabError, become_lab_root

DESCRIPTION = """\
How fast the LNS forwards, on this machine.

The bench makes three network namespaces for each candidate, LAC - LNS - network, brings up
sessions, and loads all candidates in turn, round by round:

  plain    the kernel forwards the same packets on the same way, without L2TP
  ebpf     l2tpns with `dataplane ebpf`
  user     l2tpns with `dataplane user`
  debian   the l2tpns of Debian, in C; its package is fetched and unpacked, not installed

It measures

  packets    packets a second at each --sizes: up, down, and both ways at once
  loss-free  the highest rate at which fewer than 1 packet in 10,000 is lost, up and down
  sessions   packets a second with each number of --sessions, at 64 bytes
  tcp        bit/s of 1 and of 16 TCP connections of a subscriber, up and down
  latency    the time that a subscriber's pings take
  beside     what ordinary sessions have left beside 1,000 throttled ones, 100 intercepted ones,
             and 10,000 users in the walled garden

The load comes from an XDP program on a core of its own. What the LNS does has another core; for
the candidates in user space that is the daemon's, and the kernel receives for it on the first one.

It needs root, two cores, Linux 6.6 and libbpf, and a machine that does nothing else: what is
measured runs with real-time priority. All of it takes about half an hour, --quick two minutes."""

EPILOG = """\
exit status: 0 everything was measured (the figures may be what they like); 1 something that is
measured did not work; 2 wrong usage, or the system does not allow it.

examples:
  a first look:                    l2tpns-lab bench --quick
  the eBPF plane against plain:    l2tpns-lab bench --candidates plain,ebpf --measures packets
  how it scales:                   l2tpns-lab bench --measures sessions --sessions 1,10000,60000
  all, with graphs and tables:     l2tpns-lab bench --json bench.json --graphs docs/performance \\
                                       --write docs/performance/results.md
  tables of an earlier run again:  l2tpns-lab bench --from bench.json --write results.md"""

SIZES: Final = (64, 512, 1400)
SESSIONS: Final = (1, 1000, 10_000, 60_000)
QUICK: Final = {
    "sizes": (64, 1400),
    "sessions": (1, 100),
    "measures": ("packets", "sessions", "tcp", "latency"),
    "seconds": 0.3,
    "rounds": 2,
}
USUAL: Final = {
    "sizes": SIZES,
    "sessions": SESSIONS,
    "measures": MEASURES,
    "seconds": 0.7,
    "rounds": 5,
}
PINGS: Final = 200
LIMITS: Final = {"sizes": (46, 1462), "sessions": (1, 65_000)}


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "bench",
        help="how fast the LNS forwards, beside plain routing and Debian's l2tpns",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="a short selection with few rounds")
    parser.add_argument(
        "--candidates",
        type=lambda text: _names(text, NAMES),
        default=NAMES,
        metavar="LIST",
        help=f"which (default: {','.join(NAMES)})",
    )
    parser.add_argument(
        "--measures",
        type=lambda text: _names(text, MEASURES),
        metavar="LIST",
        help="what (default: all of the above)",
    )
    for name, values in (("sizes", SIZES), ("sessions", SESSIONS)):
        parser.add_argument(
            f"--{name}",
            type=partial(_numbers, limits=LIMITS[name]),
            metavar="LIST",
            help=f"default: {','.join(map(str, values))}",
        )
    parser.add_argument("--seconds", type=_seconds, metavar="N", help="of each (default: 0.7)")
    parser.add_argument(
        "--rounds", type=_rounds, metavar="N", help="of which the median counts (5)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there")
    parser.add_argument("--graphs", type=Path, metavar="DIR", help="write graphs (SVG) there")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the tables (Markdown)")
    parser.add_argument(
        "--from", type=Path, metavar="FILE", dest="source", help="measure nothing: show FILE (JSON)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure, show and write; return the exit status. Raises LabError."""
    _check_directories(args)
    if args.source:
        report = _read(args.source)
    else:
        try:
            report = _measure(args)
        except BenchError as error:
            print(f"bench: {error}", file=sys.stderr)
            return 1
    text = document.render(report, args.graphs is not None)
    print(text)
    if args.json:
        args.json.write_text(json.dumps(report.as_dict(), indent=1) + "\n")
    if args.graphs:
        args.graphs.mkdir(parents=True, exist_ok=True)
        for name, svg in pictures.draw(report).items():
            (args.graphs / name).write_text(svg)
    if args.write:
        args.write.write_text(text)
    return 0


class BenchError(Exception):
    """A candidate did not do what it should; the text says which and what."""


def _measure(args: argparse.Namespace) -> Report:
    if os.geteuid() != 0:
        raise LabError("needs root: it gives processes real-time priority and loads BPF programs")
    if (os.cpu_count() or 1) < 2:
        raise LabError("needs two cores: one for the load and one for what is measured")
    options = _options(args)
    report = Report(machine(), _command(), asdict(options))
    become_lab_root()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that nothing stays behind
    started = time.monotonic()

    def say(text: str) -> None:
        print(f"bench: {time.monotonic() - started:5.0f} s  {text}", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory(prefix="l2tpns-bench-") as directory:
        try:
            asyncio.run(Run(options, Path(directory), report, say).run())
        except LabError as error:
            if report.rows:
                raise BenchError(str(error)) from error
            raise
        except PermissionError as error:
            raise LabError(f"root is not allowed all here: {error.strerror}") from error
    report.seconds = round(time.monotonic() - started)
    for aim in aims_of(report):
        say(f"{aim.text}: {aim.measured:.3f}")
    return report


def _options(args: argparse.Namespace) -> Options:
    chosen = dict(QUICK if args.quick else USUAL)
    chosen |= {name: value for name in chosen if (value := getattr(args, name)) is not None}
    return Options(candidates=args.candidates, pings=PINGS, **chosen)  # type: ignore[arg-type]


def _command() -> str:
    """The command line as one would type it again."""
    return shlex.join(["l2tpns-lab", *sys.argv[1:]])


def _read(path: Path) -> Report:
    try:
        return Report.from_dict(json.loads(path.read_text()))
    except OSError as error:
        raise LabError(f"{path}: {error.strerror}") from error
    except (ValueError, TypeError, KeyError) as error:
        raise LabError(f"{path}: {error}") from error


def _check_directories(args: argparse.Namespace) -> None:
    """Raise LabError now rather than after half an hour."""
    for path in (args.json, args.write):
        if path and not path.absolute().parent.is_dir():
            raise LabError(f"{path}: there is no such directory")


def _names(text: str, known: tuple[str, ...]) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(text.split(",")))
    unknown = [name for name in found if name not in known]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]}: there are {', '.join(known)}")
    return tuple(name for name in known if name in found)


def _numbers(text: str, limits: tuple[int, int]) -> tuple[int, ...]:
    least, most = limits
    try:
        found = tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError:
        raise argparse.ArgumentTypeError(f"not a list of numbers: {text}") from None
    if not all(least <= number <= most for number in found):
        raise argparse.ArgumentTypeError(f"from {least} to {most} each")
    return found


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"not a number: {text}") from None
    if not 0.05 <= value <= 60:
        raise argparse.ArgumentTypeError("from 0.05 to 60")
    return value


def _rounds(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1000:
        raise argparse.ArgumentTypeError("from 1 to 1000")
    return int(text)
