"""`l2tpns-lab radius`: the embedded RADIUS server on the command line."""

import argparse
import asyncio
import contextlib
import json
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Final

from l2tpns_core.lab.dial_command import parse_address, parse_amount, parse_percent
from l2tpns_core.lab.netns import LabError
from l2tpns_core.lab.radius_server import RadiusRecord, RadiusServer
from l2tpns_core.lab.radius_users import EXAMPLE, load_users

DEFAULT_SECRET: Final = "testing123"

DESCRIPTION = """\
A RADIUS server whose users are in a TOML file: PAP, CHAP, reply attributes by name, accounting.

It prints a line for each request, and with accounting_file keeps the accounting as JSON lines.
It can also misbehave, to see what the LNS does then."""

EPILOG = """\
examples:
  a file to start from, then the server:
    l2tpns-lab radius --example > users.toml
    l2tpns-lab radius users.toml
  in the LNS's startup-config, to use it:
    set primary_radius 127.0.0.1
    set radius_secret "testing123"
    set radius_accounting yes
  a server that is slow and loses every third request:
    l2tpns-lab radius users.toml --delay 0.5 --drop 33"""


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "radius",
        help="a RADIUS server whose users are in a TOML file",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("users", nargs="?", type=Path, metavar="FILE", help="the users, as TOML")
    parser.add_argument("--example", action="store_true", help="print an example of it and stop")
    parser.add_argument("--secret", metavar="TEXT", help=f"default: {DEFAULT_SECRET}")
    parser.add_argument(
        "--address", type=parse_address, metavar="ADDR", help="where to listen (127.0.0.1)"
    )
    parser.add_argument("--auth-port", type=_port, metavar="PORT", help="default: 1812; 0: any")
    parser.add_argument("--acct-port", type=_port, metavar="PORT", help="default: 1813; 0: any")
    parser.add_argument("--accounting-file", type=Path, metavar="FILE", help="JSON lines")
    group = parser.add_argument_group("misbehaviour")
    group.add_argument("--silent", action="store_true", help="never answer")
    group.add_argument(
        "--delay", type=parse_amount, default=0.0, metavar="SECONDS", help="answer late"
    )
    group.add_argument("--reject", action="store_true", help="reject every login")
    group.add_argument(
        "--drop", type=parse_percent, default=0.0, metavar="PERCENT", help="lose requests"
    )
    group.add_argument(
        "--require-message-authenticator",
        action="store_true",
        help="drop Access-Requests without one",
    )
    parser.add_argument("--json", action="store_true", help="print requests as JSON lines")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM; return the exit status."""
    if args.example:
        print(EXAMPLE, end="")
        return 0
    if args.users is None:
        raise LabError("no file of users: `l2tpns-lab radius --example > users.toml` makes one")
    server = server_from(args)
    return asyncio.run(_serve(server, args.json))


def server_from(args: argparse.Namespace) -> RadiusServer:
    """The server that the command line and the file describe. Raises UsersError."""
    file = load_users(args.users)
    accounting_file = args.accounting_file
    if accounting_file is None and file.accounting_file:
        accounting_file = Path(file.accounting_file)

    def watch(record: RadiusRecord) -> None:
        print(record.as_json() if args.json else describe(record), flush=True)

    return RadiusServer(
        users=file.users,
        secret=(args.secret or file.secret or DEFAULT_SECRET).encode(),
        address=args.address or file.address or "127.0.0.1",
        auth_port=_first(args.auth_port, file.auth_port or None, 1812),
        acct_port=_first(args.acct_port, file.acct_port or None, 1813),
        accounting_file=accounting_file,
        silent=args.silent,
        delay_s=args.delay,
        reject=args.reject,
        drop_percent=args.drop,
        require_message_authenticator=args.require_message_authenticator,
        watch=watch,
    )


def _first(*values: int | None) -> int:
    return next(value for value in values if value is not None)


async def _serve(server: RadiusServer, as_json: bool) -> int:
    try:
        server.start()
    except OSError as error:
        raise LabError(
            f"cannot listen on {server.address}, ports {server.auth_port} and "
            f"{server.acct_port}: {error.strerror}"
        ) from error
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for sig in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(sig, stopped.set)
    host, port = server.auth_address
    print(
        f"radius: ready on {host}, ports {port} (logins) and {server.acct_address[1]} "
        f"(accounting), {len(server.users)} users",
        file=sys.stderr,
        flush=True,
    )
    with contextlib.suppress(asyncio.CancelledError):
        await stopped.wait()
    server.stop()
    counters = asdict(server.counters)
    if as_json:
        print(json.dumps({"counters": counters}))
    else:
        shown = (f"{name.replace('_', ' ')} {count}" for name, count in counters.items() if count)
        print(f"radius: {', '.join(shown) or 'nothing came'}", file=sys.stderr)
    return 0


def describe(record: RadiusRecord) -> str:
    """A request as a line for people."""
    user = record.get("User-Name", "-")
    if record.accepted is not None:
        how = "CHAP" if "CHAP-Password" in record else "PAP"
        return f"{'accept' if record.accepted else 'reject'} {user} ({how})"
    line = f"accounting {record.get('Acct-Status-Type', '?')} {user}"
    if "Acct-Session-Time" in record:
        line += (
            f" after {record['Acct-Session-Time']} s, "
            f"{record.get('Acct-Input-Octets', 0)} bytes in, "
            f"{record.get('Acct-Output-Octets', 0)} out"
        )
    return line


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"no port: {text!r}")
    return int(text)
