"""`l2tpns-cli top`: the screen of `show top`, again and again."""

import os
import shutil
import sys
import time
from typing import Final

from l2tpns_core.cli.client import Client

TOP: Final = "top"
COMMAND: Final = "show top"
MAX_USERS: Final = 50
OTHER_LINES: Final = 12
"""What the screen has besides users."""
INTERVAL_S: Final = 2.0
MIN_INTERVAL_S: Final = 1.0
MAX_INTERVAL_S: Final = 3600.0
MARGIN_S: Final = 0.05
"""The daemon does not look anew before a whole second is over."""
CLEAR: Final = "\x1b[H\x1b[2J"
EXIT_OK: Final = 0
EXIT_FAILED: Final = 1


def watch(client: Client, interval_s: float, *, once: bool, as_json: bool) -> int:
    """Look until the operator interrupts, or once; returns the exit status.

    The first look only remembers the counters, so that the second can tell rates.
    """
    is_screen = sys.stdout.isatty() and not as_json and not once
    screen, error = _look(client, as_json=as_json)
    while not error:
        if is_screen:
            print(f"{CLEAR}{_cut(screen)}\nCtrl-C ends this.", end="", flush=True)
        time.sleep(interval_s + MARGIN_S)
        screen, error = _look(client, as_json=as_json)
        if not is_screen and not error:
            print(screen, end="" if as_json else "\n", flush=True)
        if once:
            break
    if error:
        print(error, file=sys.stderr)
    return EXIT_FAILED if error else EXIT_OK


def _look(client: Client, *, as_json: bool) -> tuple[str, str]:
    """The screen, and the error if there was one."""
    lines: list[str] = []
    rows = shutil.get_terminal_size().lines if sys.stdout.isatty() else OTHER_LINES + 10
    count = max(1, min(MAX_USERS, rows - OTHER_LINES))
    error = client.run(f"{COMMAND} {count}", lines.append, as_json=as_json)
    return "".join(lines), error


def _cut(screen: str) -> str:
    """No line longer than the terminal, so that no line takes two rows."""
    columns = shutil.get_terminal_size().columns
    return os.linesep.join(line[: columns - 1] for line in screen.splitlines())
