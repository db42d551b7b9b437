"""`--More--` in `l2tpns-cli`, on a terminal."""

import os
import shutil
import sys
import termios
import tty
from typing import Final

from l2tpns_core.cli.terminal_keys import Key
from l2tpns_core.cli.terminal_pager import ERASE_MORE, MORE, QUIT_KEYS, Pager

KEYS: Final = {
    "\r": Key.ENTER,
    "\n": Key.ENTER,
    "\x03": Key.INTERRUPT,
    "\x04": Key.END_OF_INPUT,
    "\x1a": Key.LEAVE_MODE,
    "": Key.END_OF_INPUT,
}


class NoMoreError(Exception):
    """The operator has seen enough of a command's output."""


class Pages:
    """Writes output to the terminal page by page."""

    def __init__(self) -> None:
        self._length: int | None = None
        self._width: int | None = None
        self._pager = Pager(0, 0)

    def resize(self, name: str, size: int) -> None:
        """`terminal length` and `terminal width`."""
        if name == "length":
            self._length = size
        else:
            self._width = size

    def begin(self) -> None:
        """A command is going to print."""
        window = shutil.get_terminal_size()
        length = window.lines if self._length is None else self._length
        self._pager = Pager(self._width or window.columns, length)

    def write(self, text: str) -> None:
        """Complete lines. Raises NoMoreError."""
        pager = self._pager
        pager.put(text)
        while True:
            sys.stdout.write(pager.page())
            if pager.is_empty:
                break
            self._turn(pager)
        sys.stdout.flush()

    def _turn(self, pager: Pager) -> None:
        sys.stdout.write(MORE)
        sys.stdout.flush()
        try:
            while True:
                pressed = read_key()
                key = KEYS.get(pressed, pressed)
                if key in QUIT_KEYS:
                    raise NoMoreError
                if pager.turn(key):
                    return
        finally:
            sys.stdout.write(ERASE_MORE)
            sys.stdout.flush()


def read_key() -> str:
    """One key, at once and without an echo."""
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setraw(descriptor, termios.TCSANOW)
        return os.read(descriptor, 1).decode(errors="replace")
    finally:
        termios.tcsetattr(descriptor, termios.TCSANOW, before)
