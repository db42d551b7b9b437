"""`l2tpns-lab demo` on the command line."""

import argparse
import asyncio
import json
import signal
import sys
from pathlib import Path

from l2tpns_core.lab.demo import TABLES, Demo, DemoResult
from l2tpns_core.lab.demo_place import DemoError
from l2tpns_core.lab.dial_command import parse_amount
from l2tpns_core.lab.netns import become_lab_root

DESCRIPTION = """\
A whole LNS at work, on this machine alone and without a trace afterwards.

The demo makes three network namespaces, starts a RADIUS server, the LNS and two LACs, whose
subscribers log in (one with a wrong password) and ping a host behind the LNS. On a terminal you
then get the LNS's own prompt; otherwise, or with --batch, the demo prints the tables and ends.

It needs Linux with network namespaces and /dev/net/tun: either root, or a system that allows
unprivileged user namespaces. Nothing is installed or written outside a private /run."""

EPILOG = """\
exit status: 0 all subscribers fared as they should and traffic flowed; 1 they did not; 2 the
system does not allow it (one line says why and what to do).

examples:
  play with it:                 l2tpns-lab demo
  a quick check in a script:    l2tpns-lab demo --batch
  the same, to be processed:    l2tpns-lab demo --json"""


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "demo",
        help="LNS, RADIUS server and subscribers on this machine, and a prompt",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--batch", action="store_true", help="no prompt, even on a terminal")
    parser.add_argument("--json", action="store_true", help="print the result as JSON (no prompt)")
    parser.add_argument(
        "--hold",
        type=parse_amount,
        default=3.0,
        metavar="SECONDS",
        help="without a prompt: let traffic flow so long (default: 3)",
    )
    parser.add_argument(
        "--log", type=Path, metavar="FILE", help="write the LNS's log to FILE and keep it"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the demo; return the exit status. Raises LabError."""
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    interactive = terminal and not (args.batch or args.json)
    log_file = args.log.absolute() if args.log else None
    become_lab_root()
    try:
        result = asyncio.run(_play(args, interactive, log_file))
    except DemoError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except asyncio.CancelledError:
        return 128 + signal.SIGTERM
    if args.json:
        print(json.dumps(result.as_dict(), indent=1))
    elif not interactive:
        print_result(result)
    return 0 if result.ok or interactive else 1


async def _play(args: argparse.Namespace, interactive: bool, log_file: Path | None) -> DemoResult:
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    for sig in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(sig, task.cancel)

    def say(text: str) -> None:
        print(f"demo: {text}", file=sys.stderr if args.json else sys.stdout, flush=True)

    return await Demo(say, args.hold, log_file).run(interactive)


def print_result(result: DemoResult) -> None:
    """The tables and the verdict, for people."""
    for command in TABLES:
        print(f"\ndemo-lns# {command}\n{result.tables[command]}")
    print()
    up = [one for one in result.subscribers if one["up"]]
    sent, answered = (sum(one[key] for one in up) for key in ("pings", "answers"))
    print(f"demo: {len(up)} subscribers online, {sent} pings sent, {answered} answered")
    starts, stops = result.accounting_starts, result.accounting_stops
    print(f"demo: accounting records: {starts} Start, {stops} Stop")
    for violation in result.violations:
        print(f"demo: the LNS broke a rule: {violation}")
    print("demo: all is well" if result.ok else "demo: NOT as it should be")
