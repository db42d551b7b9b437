"""Output a page at a time (`--More--`). Knows sizes, not terminals."""

from collections import deque
from typing import Final

from l2tpns_core.cli.terminal_keys import Key
from l2tpns_core.cli.terminal_line import cells

MORE: Final = "--More--"
ERASE_MORE: Final = "\r" + " " * len(MORE) + "\r"
QUIT_KEYS: Final = ("q", "Q", Key.INTERRUPT, Key.LEAVE_MODE, Key.END_OF_INPUT)


class Pager:
    """The output of one command. Lines are put in; page() gives what fits on the screen."""

    def __init__(self, width: int, height: int) -> None:
        """A height of 0 is that of a screen without an end."""
        self._width = max(1, width)
        self._height = max(2, height) if height > 0 else 0
        self._room = self._height - 1
        self._lines: deque[str] = deque()

    def put(self, text: str) -> None:
        """Complete lines, each with its line end."""
        self._lines.extend(text.splitlines(keepends=True))

    @property
    def is_empty(self) -> bool:
        return not self._lines

    def page(self) -> str:
        """As many lines as there is room for; a line that is longer than a screen counts as one
        screen."""
        if not self._height:
            text = "".join(self._lines)
            self._lines.clear()
            return text
        taken: list[str] = []
        while self._lines and self._room > 0:
            rows = self._rows_of_next()
            if rows > self._room and self._room < self._height - 1:
                self._room = 0
                break
            self._room -= rows
            taken.append(self._lines.popleft())
        return "".join(taken)

    def _rows_of_next(self) -> int:
        line = self._lines[0].rstrip("\n") if self._lines else ""
        return max(1, -(-cells(line) // self._width))

    def turn(self, key: str | Key) -> bool:
        """A key at `--More--`: a blank shows a page more, Enter a line. False for what means
        neither."""
        if key == " ":
            self._room = self._height - 1
        elif key in (Key.ENTER, Key.NEWER):
            self._room = self._rows_of_next()
        else:
            return False
        return True
