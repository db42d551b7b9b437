"""The bytes of a keyboard as keys: printable characters as they are, all else by name."""

import codecs
import enum
from typing import Final

MAX_SEQUENCE_CHARS: Final = 16
"""Of an escape sequence; a longer one is no key."""


class Key(enum.Enum):
    """A key that is no printable character."""

    ENTER = enum.auto()
    TAB = enum.auto()
    BACKSPACE = enum.auto()
    DELETE = enum.auto()
    END_OF_INPUT = enum.auto()  # ^D: deletes within a line, ends the shell on an empty one
    INTERRUPT = enum.auto()
    LEAVE_MODE = enum.auto()
    LEFT = enum.auto()
    RIGHT = enum.auto()
    WORD_LEFT = enum.auto()
    WORD_RIGHT = enum.auto()
    HOME = enum.auto()
    END = enum.auto()
    OLDER = enum.auto()
    NEWER = enum.auto()
    KILL_TO_END = enum.auto()
    KILL_TO_START = enum.auto()
    KILL_WORD = enum.auto()
    REDRAW = enum.auto()
    ESCAPE = enum.auto()


CONTROLS: Final = {
    "\x01": Key.HOME,
    "\x02": Key.LEFT,
    "\x03": Key.INTERRUPT,
    "\x04": Key.END_OF_INPUT,
    "\x05": Key.END,
    "\x06": Key.RIGHT,
    "\x08": Key.BACKSPACE,
    "\t": Key.TAB,
    "\n": Key.ENTER,
    "\x0b": Key.KILL_TO_END,
    "\x0c": Key.REDRAW,
    "\r": Key.ENTER,
    "\x0e": Key.NEWER,
    "\x10": Key.OLDER,
    "\x15": Key.KILL_TO_START,
    "\x17": Key.KILL_WORD,
    "\x1a": Key.LEAVE_MODE,
    "\x7f": Key.BACKSPACE,
}
SEQUENCES: Final = {
    "[A": Key.OLDER,
    "[B": Key.NEWER,
    "[C": Key.RIGHT,
    "[D": Key.LEFT,
    "[F": Key.END,
    "[H": Key.HOME,
    "[1~": Key.HOME,
    "[3~": Key.DELETE,
    "[4~": Key.END,
    "[7~": Key.HOME,
    "[8~": Key.END,
    "[1;5C": Key.WORD_RIGHT,
    "[1;5D": Key.WORD_LEFT,
    "OA": Key.OLDER,
    "OB": Key.NEWER,
    "OC": Key.RIGHT,
    "OD": Key.LEFT,
    "OF": Key.END,
    "OH": Key.HOME,
    "b": Key.WORD_LEFT,
    "f": Key.WORD_RIGHT,
}
"""What follows an escape."""


class KeyDecoder:
    """Bytes in, keys out; keeps no more than half a character and half a sequence."""

    def __init__(self) -> None:
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._sequence: str | None = None
        self._after_return = False
        self.saw_return = False
        """Lines end with a carriage return."""

    def decode(self, data: bytes) -> list[str | Key]:
        """The keys that are complete."""
        keys: list[str | Key] = []
        for char in self._utf8.decode(data):
            key = self._key(char)
            if key is not None:
                keys.append(key)
        return keys

    def _key(self, char: str) -> str | Key | None:
        after_return, self._after_return = self._after_return, char == "\r"
        if self._sequence is not None:
            return self._continue(self._sequence + char)
        if after_return and char in "\n\0":
            return None
        if char == "\x1b":
            self._sequence = ""
            return None
        if char == "\r":
            self.saw_return = True
        if char in CONTROLS:
            return CONTROLS[char]
        return char if char.isprintable() else None

    def _continue(self, sequence: str) -> str | Key | None:
        """An escape sequence that has grown by a character."""
        self._sequence = None
        last = sequence[-1]
        if last == "\x1b" and len(sequence) == 1:
            return Key.ESCAPE
        if last < " ":
            return self._key(last)
        if len(sequence) == 1 and sequence in "[O":
            self._sequence = sequence
            return None
        if sequence[0] == "[" and not "@" <= last <= "~" and len(sequence) < MAX_SEQUENCE_CHARS:
            self._sequence = sequence
            return None
        return SEQUENCES.get(sequence)
