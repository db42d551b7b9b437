"""The command `l2tpns-lab`: one subcommand per tool, each in a module of its own."""

import argparse
import sys
from collections.abc import Sequence

from l2tpns_core import __version__
from l2tpns_core.lab.bench.command import add_parser as add_bench
from l2tpns_core.lab.demo_command import add_parser as add_demo
from l2tpns_core.lab.dial_command import add_parser as add_dial
from l2tpns_core.lab.netns import LabError
from l2tpns_core.lab.new_plugin import add_parser as add_new_plugin
from l2tpns_core.lab.radius_command import add_parser as add_radius
from l2tpns_core.lab.snoop_command import add_parser as add_snoop

DESCRIPTION = """\
A lab in a box for the LNS.

  demo         everything at once on this machine: LNS, RADIUS server, subscribers, a prompt
  dial         a LAC with any number of PPP clients, against this or any other LNS
  radius       a RADIUS server whose users are in a TOML file
  snoop        a receiver for the packets of intercepted subscribers, which writes pcap
  bench        how fast the LNS forwards here, with tables and graphs
  new-plugin   a plugin to begin with, as a distribution with tests

`l2tpns-lab COMMAND --help` explains each of them with examples."""

EPILOG = """\
exit status: 0 what was asked for worked; 1 it did not; 2 wrong usage, or the environment does
not allow it (one line on standard error says why)."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="l2tpns-lab",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for add_parser in (add_demo, add_dial, add_radius, add_snoop, add_bench, add_new_plugin):
        add_parser(commands)
    args = parser.parse_args(argv)
    try:
        status: int = args.run(args)
    except LabError as error:
        print(f"l2tpns-lab {args.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return status


if __name__ == "__main__":
    sys.exit(main())
