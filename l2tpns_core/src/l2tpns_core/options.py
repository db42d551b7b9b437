"""The options of the command `l2tpns`, and what it does without becoming a daemon."""

import argparse
import os
import sys
from pathlib import Path
from typing import Final

from l2tpns_core import __version__
from l2tpns_core.check import check
from l2tpns_core.config.convert import convert
from l2tpns_core.config.startup_config import MAX_FILE_BYTES

DEFAULT_CONFIG: Final = "/etc/l2tpns/startup-config"
EPILOG: Final = """\
The directory of the startup-config also holds ip_pool, users, plugins.toml and what plugins read.

signals:
  HUP        read the configuration again, open the log anew
  TERM, INT  stop; sessions wait for the next start when save_state is yes
  QUIT       disconnect everybody and stop

exit status:
  0  stopped as asked; with --check, the configuration has no errors
  1  could not start; with --check, it has errors (with --strict, or warnings)
  2  the command line is wrong

examples:
  l2tpns -c /etc/l2tpns/startup-config --check
  l2tpns --convert startup-config.old -o /etc/l2tpns/startup-config
"""


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """The command line. Exits on one that is wrong, and after --help and --version."""
    parser = argparse.ArgumentParser(
        prog="l2tpns",
        add_help=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="An L2TP network server (LNS): ends PPP sessions that LACs send by L2TPv2.",
        epilog=EPILOG,
    )
    parser.add_argument("--help", action="help", help="show this and exit")
    parser.add_argument("--version", action="version", version=f"l2tpns {__version__}")
    parser.add_argument(
        "-c",
        dest="config",
        default=DEFAULT_CONFIG,
        metavar="FILE",
        help=f"startup-config (default: {DEFAULT_CONFIG})",
    )
    parser.add_argument(
        "-v",
        dest="verbose",
        action="count",
        default=0,
        help="one more level of debug than the configuration says; repeatable",
    )
    parser.add_argument("-d", dest="detach", action="store_true", help="run in the background")
    parser.add_argument(
        "-h",
        dest="hostname",
        default="",
        metavar="HOSTNAME",
        help="host name in the prompt and towards LACs, where the configuration has none",
    )
    _add_tools(parser)
    options = parser.parse_args(arguments)
    if options.strict and not options.check:
        parser.error("--strict goes with --check")
    if options.json and not options.check and options.convert is None:
        parser.error("--json goes with --check or --convert")
    if options.output and options.convert is None:
        parser.error("-o goes with --convert")
    return options


def _add_tools(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("instead of starting")
    tool = group.add_mutually_exclusive_group()
    tool.add_argument(
        "--check",
        action="store_true",
        help="tell all that is wrong with the startup-config and the files beside it",
    )
    tool.add_argument(
        "--convert",
        metavar="FILE",
        help="tell what becomes of each line of a startup-config of the C program",
    )
    group.add_argument("--strict", action="store_true", help="with --check: warnings count too")
    group.add_argument("--json", action="store_true", help="the report for scripts")
    group.add_argument(
        "-o",
        dest="output",
        metavar="NEW",
        help="with --convert: write the converted file, which must not be there yet",
    )


def run_check(options: argparse.Namespace) -> int:
    """Returns the exit status."""
    report = check(Path(options.config))
    if options.json:
        print(report.json())
    else:
        for line in report.lines():
            print(line)
    return 1 if report.errors or (options.strict and report.warnings) else 0


def run_convert(options: argparse.Namespace) -> int:
    """Returns the exit status: 1 when a file cannot be read or written."""
    try:
        with open(options.convert, "rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            print(f"l2tpns: {options.convert}: longer than {MAX_FILE_BYTES} bytes", file=sys.stderr)
            return 1
        conversion = convert(data)
        if options.output:
            with open(options.output, "x", encoding="utf-8", opener=_private) as file_out:
                file_out.write(conversion.text)
    except OSError as error:
        print(f"l2tpns: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    if options.json:
        print(conversion.json())
    else:
        for line in conversion.report():
            print(line)
    return 0


def _private(path: str, flags: int) -> int:
    """Open a file that only its owner may read: it may hold secrets."""
    return os.open(path, flags, 0o600)
