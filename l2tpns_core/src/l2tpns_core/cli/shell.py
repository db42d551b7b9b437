"""`l2tpns-cli`: the operator's shell, or single commands for scripts.

A program of its own: it talks to the daemon over the Unix socket and holds no state that matters.
On a terminal it edits lines (cli.interactive); otherwise, and on a terminal that calls itself dumb,
it reads plain lines and prints nothing but answers.
"""

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Final, NoReturn, TextIO

from l2tpns_core import __version__
from l2tpns_core.cli.actions import Actions
from l2tpns_core.cli.client import Client, DaemonUnreachableError
from l2tpns_core.cli.watch import INTERVAL_S, MAX_INTERVAL_S, MIN_INTERVAL_S, TOP, watch
from l2tpns_core.config.directives import DIRECTIVES

EXIT_OK: Final = 0
EXIT_COMMAND_FAILED: Final = 1
EXIT_UNREACHABLE: Final = 2
EXIT_USAGE: Final = 64
"""EX_USAGE of sysexits.h."""
PLAIN_TERMINALS: Final = ("", "dumb", "unknown", "network")

DESCRIPTION: Final = "Look at a running l2tpns and control it."
EPILOG: Final = """\
Without a command this is a shell: type `help` for the commands, ? for what may come next, Tab to
complete a word. Words may be shortened as long as they are clear.

examples:
  l2tpns-cli top
  l2tpns-cli why alice
  l2tpns-cli -c 'show session'
  l2tpns-cli -c 'show session | include alice'
  l2tpns-cli --json -c 'show session' | jq '.[].user'
  l2tpns-cli -c 'configure terminal' -c 'set debug 3'
  echo 'drop session 17' | l2tpns-cli

exit status:
  0   every command succeeded
  1   a command failed (the reason is on stderr, with --json on stdout)
  2   the daemon cannot be reached
"""


class Parser(argparse.ArgumentParser):
    """Keeps status 2 for a daemon that cannot be reached."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(EXIT_USAGE, f"{self.prog}: {message}\n")


def make_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="l2tpns-cli",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "-s",
        "--socket",
        default=str(DIRECTIVES["cli_socket"].default),
        help="Unix socket of the daemon, its directive cli_socket (default: %(default)s)",
    )
    parser.add_argument(
        "-c",
        "--command",
        action="append",
        default=[],
        metavar="COMMAND",
        help="carry out a command and end; may be repeated, later ones run in the mode that "
        "earlier ones leave",
    )
    parser.add_argument(
        "words",
        nargs="*",
        metavar="WORD",
        help="a command, the same as -c; or `top`, which looks again and again",
    )
    parser.add_argument(
        "--once", action="store_true", help="with `top`: look once, after a second, and end"
    )
    parser.add_argument(
        "--interval",
        type=_interval,
        default=INTERVAL_S,
        metavar="SECONDS",
        help="with `top`: how long between two looks (default: %(default)s)",
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON document for each command"
    )
    parser.add_argument("--version", action="version", version=f"l2tpns-cli {__version__}")
    return parser


def _interval(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not MIN_INTERVAL_S <= seconds <= MAX_INTERVAL_S:
        raise argparse.ArgumentTypeError(
            f"must be from {MIN_INTERVAL_S:g} to {MAX_INTERVAL_S:g} seconds"
        )
    return seconds


def main(arguments: Sequence[str] | None = None) -> int:
    """The program; returns its exit status."""
    options = make_parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        client = Client(options.socket)
        try:
            return _work(client, options)
        finally:
            client.close()
    except DaemonUnreachableError as error:
        print(f"l2tpns-cli: {error}", file=sys.stderr)
        return EXIT_UNREACHABLE
    except BrokenPipeError:
        # The reader of our output has gone; keep the interpreter from saying so when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK
    except KeyboardInterrupt:
        return 128 + 2


def _work(client: Client, options: argparse.Namespace) -> int:
    if options.words == [TOP]:
        interval = MIN_INTERVAL_S if options.once else options.interval
        return watch(client, interval, once=options.once, as_json=options.json)
    if options.words:
        options.command.append(" ".join(options.words))
    if options.command:
        return run_lines(client, options.command, as_json=options.json)
    if not sys.stdin.isatty():
        return run_lines(client, _lines_of(sys.stdin), as_json=options.json)
    if not sys.stdout.isatty() or os.environ.get("TERM", "") in PLAIN_TERMINALS:
        return run_lines(client, _prompted_lines(client), as_json=options.json)
    from l2tpns_core.cli.interactive import run_terminal

    return run_terminal(client, as_json=options.json)


def run_lines(client: Client, lines: Iterable[str], *, as_json: bool) -> int:
    """Carry out lines one after the other, until they end or one of them ends the shell."""
    status = EXIT_OK
    actions = Actions(client, _write_now, wait=True)
    for line in lines:
        error = client.run(line, sys.stdout.write, as_json=as_json)
        sys.stdout.flush()
        actions.carry_out(client.action)
        if error:
            status = EXIT_COMMAND_FAILED
            if not as_json:
                print(error, file=sys.stderr, flush=True)
        if client.mode is None:
            break
    return status


def _write_now(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _lines_of(stream: TextIO) -> Iterable[str]:
    """The lines of a script, without empty ones and comments."""
    for line in stream:
        text = line.strip()
        if text and text[0] not in "#!":
            yield text


def _prompted_lines(client: Client) -> Iterable[str]:
    """Lines of a terminal that shows what it is sent, as it is (TERM=dumb)."""
    client.run("", lambda text: None)
    while True:
        print(client.prompt, end="", flush=True)
        line = sys.stdin.readline()
        if not line:
            return
        yield line.strip()


if __name__ == "__main__":
    sys.exit(main())
