"""An operator's screen and keyboard: lines are read and pages are shown, comfortably on a terminal,
plainly for a program."""

from collections import deque
from typing import Final, Protocol

from l2tpns_core.cli.telnet_wire import Wire
from l2tpns_core.cli.terminal_keys import Key
from l2tpns_core.cli.terminal_line import History, LineEditor
from l2tpns_core.cli.terminal_pager import ERASE_MORE, MORE, QUIT_KEYS, Pager
from l2tpns_core.cli.words import in_quotes

DEFAULT_WIDTH: Final = 80
MIN_WIDTH: Final = 20
MAX_SIZE: Final = 512
MAX_NOTES: Final = 500
"""Log lines that wait for the end of a page."""
MAX_ANSWER_CHARS: Final = 128
"""Of a user name or a password."""
COLUMN_GAP: Final = 2


class GivenUpError(Exception):
    """The operator has given up the line with ^C."""


class LeaveModeError(Exception):
    """The operator has pressed ^Z."""


class LineTooLongError(Exception):
    """The client has sent a line that is longer than any command."""


class Assistant(Protocol):
    """What Tab and `?` ask while a line is being typed."""

    async def complete(self, line: str) -> tuple[int, list[str]]: ...
    async def explain(self, line: str) -> list[str]: ...


class Screen:
    """The client's end of a session."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.history = History()
        self.length: int | None = None
        """As set by the operator; None is the height of the client's window."""
        self.width: int | None = None
        self._editor: LineEditor | None = None
        self._pager: Pager | None = None
        self._is_paging = False
        self._notes: deque[str] = deque(maxlen=MAX_NOTES)

    @property
    def is_terminal(self) -> bool:
        """Somebody types there, key by key."""
        return self.wire.codec.echoes

    @property
    def is_quiet(self) -> bool:
        """A program that waits for no prompt."""
        return self.wire.speaks_first and not self.is_terminal

    @property
    def columns(self) -> int:
        window = self.wire.codec.window
        width = self.width or (window[0] if window else 0) or DEFAULT_WIDTH
        return max(MIN_WIDTH, min(width, MAX_SIZE))

    @property
    def rows(self) -> int:
        """Lines of a page; 0 is without an end."""
        window = self.wire.codec.window
        height = (window[1] if window else 0) if self.length is None else self.length
        return min(height, MAX_SIZE) if self.is_terminal else 0

    def say(self, text: str) -> None:
        """Write something of the shell's own; empty lines before it are for people only."""
        self.wire.write(text.lstrip("\n") if self.is_quiet else text)

    # Reading

    async def ask(self, prompt: str, *, secret: bool = False) -> str:
        """The answer to a question. Raises HungUpError, GivenUpError and LineTooLongError."""
        if not self.is_quiet:
            self.wire.write(prompt)
        text = ""
        while True:
            key = await self.wire.key()
            if key is Key.ENTER:
                if self.is_terminal and not secret:
                    self.wire.write("\n")
                return text
            if key in (Key.INTERRUPT, Key.END_OF_INPUT):
                raise GivenUpError
            if key in (Key.BACKSPACE, Key.KILL_TO_START):
                gone = len(text) if key is Key.KILL_TO_START else min(1, len(text))
                text = text[: len(text) - gone]
                self._echo("" if secret else "\b \b" * gone)
            elif isinstance(key, str):
                if len(text) >= MAX_ANSWER_CHARS:
                    raise LineTooLongError
                text += key
                self._echo("" if secret else key)

    async def read_line(self, prompt: str, assistant: Assistant) -> str:
        """A command line. Raises HungUpError, GivenUpError, LeaveModeError and
        LineTooLongError."""
        editor = LineEditor(prompt, self.columns, self.history)
        self._editor = editor
        try:
            if not self.is_quiet:
                self.wire.write("\n" + self._flush_notes() + prompt)
            while True:
                key = await self.wire.key()
                if self.is_terminal:
                    editor.resize(self.columns)
                    done = await self._edit(editor, key, assistant)
                else:
                    done = self._collect(editor, key)
                if done:
                    self._echo(editor.finish() + "\n")
                    self.history.add(editor.text.strip())
                    return editor.text
        finally:
            self._editor = None

    async def _edit(self, editor: LineEditor, key: str | Key, assistant: Assistant) -> bool:
        """A key of a terminal; True at the end of the line."""
        if key is Key.ENTER:
            return True
        if key is Key.INTERRUPT:
            self.wire.write("^C\n")
            raise GivenUpError
        if key is Key.LEAVE_MODE:
            self.wire.write("\n")
            raise LeaveModeError
        if key is Key.END_OF_INPUT and not editor.text:
            self.wire.write("\n")
            return self._become(editor, "quit")
        if key is Key.TAB:
            await self._complete(editor, assistant)
        elif key == "?" and not in_quotes(editor.before_cursor):
            await self._explain(editor, assistant)
        elif isinstance(key, Key):
            self.wire.write(editor.press(key))
        else:
            self.wire.write(editor.insert(key))
        return False

    def _collect(self, editor: LineEditor, key: str | Key) -> bool:
        """A key of a program, or of a client that edits lines itself."""
        if key is Key.ENTER:
            return True
        if key is Key.INTERRUPT:
            raise GivenUpError
        if key is Key.LEAVE_MODE:
            raise LeaveModeError
        if key in (Key.BACKSPACE, Key.KILL_TO_START):
            editor.press(Key(key))
        elif key is Key.TAB:
            editor.insert(" ")
        elif isinstance(key, str) and not self._takes(editor, key):
            raise LineTooLongError
        return False

    @staticmethod
    def _takes(editor: LineEditor, text: str) -> bool:
        before = len(editor.text)
        editor.insert(text)
        return len(editor.text) > before

    @staticmethod
    def _become(editor: LineEditor, text: str) -> bool:
        editor.text, editor.cursor = text, len(text)
        return True

    async def _complete(self, editor: LineEditor, assistant: Assistant) -> None:
        start, words = await assistant.complete(editor.before_cursor)
        if len(words) == 1:
            self.wire.write(editor.replace(start, words[0] + " "))
            return
        common = common_prefix([word.lower() for word in words])
        if len(common) > len(editor.before_cursor) - start:
            self.wire.write(editor.replace(start, words[0][: len(common)]))
        elif words:
            self._interpose(editor, in_columns(words, self.columns))

    async def _explain(self, editor: LineEditor, assistant: Assistant) -> None:
        lines = await assistant.explain(editor.before_cursor)
        self.wire.write("?")
        self._interpose(editor, "".join(line + "\n" for line in lines))

    def _interpose(self, editor: LineEditor, text: str) -> None:
        """Print below the line, and the line again below that."""
        self.wire.write("\n" + text + editor.start())

    # Writing

    def begin_output(self) -> None:
        """A command is going to print."""
        self._pager = Pager(self.columns, self.rows)

    async def print(self, text: str) -> bool:
        """Complete lines, page by page. False when the operator wants no more of them. Raises
        HungUpError."""
        pager = self._pager
        if pager is None or not self.rows:
            self.wire.write(text)
            await self.wire.drain()
            return True
        pager.put(text)
        while True:
            self.wire.write(pager.page())
            await self.wire.drain()
            if pager.is_empty:
                return True
            if not await self._turn(pager):
                return False

    async def _turn(self, pager: Pager) -> bool:
        """`--More--`."""
        self._is_paging = True
        try:
            self.wire.write(MORE)
            while True:
                key = await self.wire.key()
                if key in QUIT_KEYS or pager.turn(key):
                    self.wire.write(ERASE_MORE)
                    return key not in QUIT_KEYS
        finally:
            self._is_paging = False

    def note(self, text: str) -> None:
        """Log lines, whatever is on the screen now."""
        if self.wire.is_behind or self._is_paging:
            self._notes.append(text)
        elif self._editor is not None and self.is_terminal:
            self.wire.write(self._editor.hide() + self._flush_notes() + text + self._editor.start())
        else:
            self.wire.write(self._flush_notes() + text)

    def _flush_notes(self) -> str:
        text = "".join(self._notes)
        self._notes.clear()
        return text

    def _echo(self, text: str) -> None:
        if self.is_terminal:
            self.wire.write(text)


def common_prefix(words: list[str]) -> str:
    """What all words begin with."""
    first, last = min(words, default=""), max(words, default="")
    length = 0
    while length < min(len(first), len(last)) and first[length] == last[length]:
        length += 1
    return first[:length]


def in_columns(words: list[str], width: int) -> str:
    """Words side by side."""
    widest = max(map(len, words)) + COLUMN_GAP
    each_row = max(1, width // widest)
    rows = (words[start : start + each_row] for start in range(0, len(words), each_row))
    return "".join("".join(word.ljust(widest) for word in row).rstrip() + "\n" for row in rows)
