"""A line that is being typed: editing, history, and how it looks on the terminal.

Keys in, characters out. Nothing but printable characters, blanks, carriage returns and backspaces
is ever sent, so that every terminal will do, and programs that read along are not confused; a line
that is longer than the terminal is wide scrolls sideways.
"""

import unicodedata
from collections import deque
from typing import Final

from l2tpns_core.cli.terminal_keys import Key

MAX_LINE_CHARS: Final = 4000
MAX_HISTORY: Final = 256
SCROLL_CELLS: Final = 10
"""How much of the line stays visible on the other side of the cursor when it scrolls."""
MIN_ROOM: Final = 20
BELL: Final = "\a"
OMITTED: Final = "$"
"""Stands where the line goes on beyond the margin."""


def cells(text: str) -> int:
    """How many columns a text takes."""
    if text.isascii():
        return len(text)
    return sum(_cells_of(char) for char in text)


class History:
    """The lines of a session, oldest first."""

    def __init__(self) -> None:
        self.lines: deque[str] = deque(maxlen=MAX_HISTORY)

    def add(self, line: str) -> None:
        if line and (not self.lines or self.lines[-1] != line):
            self.lines.append(line)


class LineEditor:
    """One line, from its prompt to Enter. Every method returns what is to be sent."""

    def __init__(self, prompt: str, width: int, history: History | None = None) -> None:
        self.prompt = prompt
        self.text = ""
        self.cursor = 0
        self._history = list(history.lines) if history is not None else []
        self._recalled = len(self._history)
        self._draft = ""
        self._drawn_cells = 0
        self._first = 0
        self.resize(width)

    def resize(self, width: int) -> None:
        self._room = max(MIN_ROOM, width - 1 - cells(self.prompt))

    @property
    def before_cursor(self) -> str:
        return self.text[: self.cursor]

    def start(self) -> str:
        """The prompt, and the line that is there already."""
        self._drawn_cells = 0
        return self._redraw()

    def hide(self) -> str:
        """Make room for other output; start() brings the line back."""
        return "\r" + " " * (cells(self.prompt) + self._drawn_cells) + "\r"

    def insert(self, text: str) -> str:
        """Type a text at the cursor."""
        if len(self.text) + len(text) > MAX_LINE_CHARS:
            return BELL
        at_end = self.cursor == len(self.text)
        self.text = self.text[: self.cursor] + text + self.text[self.cursor :]
        self.cursor += len(text)
        if at_end and not self._first and cells(self.text) <= self._room:
            self._drawn_cells = cells(self.text)
            return text
        return self._redraw()

    def replace(self, start: int, word: str) -> str:
        """Put a completed word where the text from `start` to the cursor is."""
        rest = self.text[self.cursor :]
        added = word[len(self.text[start : self.cursor]) :]
        if word.startswith(self.text[start : self.cursor]):
            return self.insert(added)
        if start + len(word) + len(rest) > MAX_LINE_CHARS:
            return BELL
        self.text = self.text[:start] + word + rest
        self.cursor = start + len(word)
        return self._redraw()

    def press(self, key: Key) -> str:
        """A key that edits. Others have no effect."""
        if key in (Key.OLDER, Key.NEWER):
            return self._recall(-1 if key is Key.OLDER else 1)
        text, cursor = self.text, self.cursor
        match key:
            case Key.LEFT:
                cursor -= 1
            case Key.RIGHT:
                cursor += 1
            case Key.WORD_LEFT:
                cursor = self._word_start()
            case Key.WORD_RIGHT:
                cursor = self._word_end()
            case Key.HOME:
                cursor = 0
            case Key.END:
                cursor = len(text)
            case Key.BACKSPACE if cursor:
                text, cursor = text[: cursor - 1] + text[cursor:], cursor - 1
            case Key.DELETE | Key.END_OF_INPUT:
                text = text[:cursor] + text[cursor + 1 :]
            case Key.KILL_TO_END:
                text = text[:cursor]
            case Key.KILL_TO_START:
                text, cursor = text[cursor:], 0
            case Key.KILL_WORD:
                start = self._word_start()
                text, cursor = text[:start] + text[cursor:], start
            case Key.REDRAW:
                return "\n" + self.start()
            case _:
                return ""
        return self._become(text, max(0, min(cursor, len(text))))

    def finish(self) -> str:
        """Go to the end of the line, where output may begin."""
        return self._become(self.text, len(self.text))

    def _become(self, text: str, cursor: int) -> str:
        old, was = self.text, self.cursor
        if (text, cursor) == (old, was):
            return ""
        self.text, self.cursor = text, cursor
        visible = not self._first and old.isascii() and text.isascii() and len(old) <= self._room
        if visible and text == old:
            return old[was:cursor] if cursor > was else "\b" * (was - cursor)
        if visible and cursor == len(text) and old.startswith(text) and was == len(old):
            gone = len(old) - len(text)
            self._drawn_cells -= gone
            return "\b" * gone + " " * gone + "\b" * gone
        return self._redraw()

    def _recall(self, step: int) -> str:
        position = self._recalled + step
        if not 0 <= position <= len(self._history):
            return BELL
        if self._recalled == len(self._history):
            self._draft = self.text
        self._recalled = position
        text = self._draft if position == len(self._history) else self._history[position]
        self.text, self.cursor = text, len(text)
        return self._redraw()

    def _redraw(self) -> str:
        """The whole line anew; what it was longer before becomes blank."""
        shown, before = self._window()
        drawn = cells(shown)
        blanks = max(0, self._drawn_cells - drawn)
        self._drawn_cells = drawn
        back = drawn - before + blanks
        return "\r" + self.prompt + shown + " " * blanks + "\b" * back

    def _window(self) -> tuple[str, int]:
        """The part of the line that is visible, and how many columns are left of the cursor."""
        if cells(self.text) <= self._room:
            self._first = 0
            return self.text, cells(self.before_cursor)
        left_out = self.cursor < self._first
        if left_out or cells(self.text[self._first : self.cursor]) > self._room - 2:
            self._first = self.cursor
            back = SCROLL_CELLS if left_out else self._room - 2 - SCROLL_CELLS
            while self._first and cells(self.text[self._first - 1 : self.cursor]) <= back:
                self._first -= 1
        first, last, taken = self._first, self._first, 2
        while last < len(self.text) and taken + cells(self.text[last]) <= self._room:
            taken += cells(self.text[last])
            last += 1
        head = OMITTED if first else ""
        tail = OMITTED if last < len(self.text) else ""
        before = len(head) + cells(self.text[first : self.cursor])
        return head + self.text[first:last] + tail, before

    def _word_start(self) -> int:
        stripped = self.before_cursor.rstrip()
        return stripped.rfind(" ") + 1

    def _word_end(self) -> int:
        rest = self.text[self.cursor :]
        skipped = len(rest) - len(rest.lstrip())
        end = rest.find(" ", skipped)
        return len(self.text) if end < 0 else self.cursor + end


def _cells_of(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
