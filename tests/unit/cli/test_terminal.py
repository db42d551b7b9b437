"""Keys, the line that is being typed, and pages; looked at through a terminal that knows only
printable characters, carriage return and backspace."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2tpns_core.cli.terminal_keys import CONTROLS, SEQUENCES, Key, KeyDecoder
from l2tpns_core.cli.terminal_line import (
    BELL,
    MAX_HISTORY,
    MAX_LINE_CHARS,
    History,
    LineEditor,
)
from l2tpns_core.cli.terminal_pager import Pager

PROMPT = "lns# "


class Glass:
    """A row of a terminal."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.row = [" "] * width
        self.column = 0

    def show(self, text: str) -> None:
        for char in text.replace(BELL, ""):
            if char == "\r":
                self.column = 0
            elif char == "\b":
                self.column -= 1
            elif char == "\n":
                self.row, self.column = [" "] * self.width, 0
            else:
                assert char.isprintable(), repr(char)
                self.row[self.column] = char
                self.column += 1
            assert 0 <= self.column < self.width

    @property
    def text(self) -> str:
        return "".join(self.row).rstrip()


def keys(data: bytes) -> list[str | Key]:
    return KeyDecoder().decode(data)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"a\r\nb\rc\r\0d\n", ["a", Key.ENTER, "b", Key.ENTER, "c", Key.ENTER, "d", Key.ENTER]),
        (b"\n\n", [Key.ENTER, Key.ENTER]),
        ("grün 日本".encode(), list("grün 日本")),
        (b"\x1b[A\x1bOB\x1b[3~", ["OLDER", "NEWER", "DELETE"]),
        (b"\x1b[1;5C\x1bb", ["WORD_RIGHT", "WORD_LEFT"]),
        (b"\x1b[99;99;99~x", ["x"]),
        (b"\x1b[" + b"1" * 15 + b"x", ["x"]),
        (b"\x1b\x1bz", [Key.ESCAPE, "z"]),
        (b"\x1b\x03\x1b[\x03", [Key.INTERRUPT, Key.INTERRUPT]),
        (b"\x00\x07\x1c\x80\xc3", ["\N{REPLACEMENT CHARACTER}"]),
    ],
)  # fmt: skip
def test_keys(data: bytes, expected: list[str | Key]) -> None:
    wanted = [
        Key[one] if isinstance(one, str) and one in Key.__members__ else one for one in expected
    ]
    assert keys(data) == wanted


@given(st.binary())
def test_any_bytes_are_keys_in_any_pieces(data: bytes) -> None:
    decoder = KeyDecoder()
    single = [key for byte in data for key in decoder.decode(bytes((byte,)))]
    assert single == keys(data)
    assert all(isinstance(key, Key) or key.isprintable() for key in single)


def typed(data: bytes, width: int = 60, history: History | None = None) -> tuple[LineEditor, Glass]:
    """The editor after some keys, and what it looks like."""
    editor, glass = LineEditor(PROMPT, width, history), Glass(width)
    glass.show(editor.start())
    for key in keys(data):
        glass.show(editor.press(key) if isinstance(key, Key) else editor.insert(key))
    return editor, glass


@pytest.mark.parametrize(
    ("data", "text", "cursor"),
    [
        (b"show", "show", 4),
        (b"sow\x1b[D\x1b[Dh", "show", 2),
        (b"how\x01s\x05!", "show!", 5),
        (b"show ver\x17x", "show x", 6),
        (b"show ver  \x17", "show ", 5),
        (b"show\x02\x02\x0b", "sh", 2),
        (b"show\x02\x02\x15", "ow", 0),
        (b"shxow\x02\x02\x7f", "show", 2),
        (b"shxow\x01\x06\x06\x04\x1b[3~", "shw", 2),
        (b"one two\x1bb\x1bb\x1bfX", "oneX two", 4),
        (b"\x7f\x1b[D\x1b[C\x04\x17\x15\x0b", "", 0),
        (b"a\tb", "ab", 2),
    ],
)
def test_editing(data: bytes, text: str, cursor: int) -> None:
    editor, glass = typed(data)
    assert (editor.text, editor.cursor) == (text, cursor)
    assert glass.text == (PROMPT + text).rstrip()
    assert glass.column == len(PROMPT) + cursor


def test_typing_at_the_end_sends_nothing_but_the_character() -> None:
    editor = LineEditor(PROMPT, 80)
    assert editor.start() == "\r" + PROMPT
    assert editor.insert("s") == "s"
    assert editor.press(Key.BACKSPACE) == "\b \b"


def test_history() -> None:
    history = History()
    for line in ("one", "two", "two", "", "three"):
        history.add(line)
    assert list(history.lines) == ["one", "two", "three"]
    up, down = b"\x1b[A", b"\x1b[B"
    for data, text in (
        (up, "three"),
        (up * 3, "one"),
        (up * 9, "one"),
        (b"draft" + up * 2 + down * 2, "draft"),
        (down, ""),
        (up + b"!", "three!"),
    ):
        editor, glass = typed(data, history=history)
        assert editor.text == text
        assert glass.text == (PROMPT + text).rstrip()
    for number in range(MAX_HISTORY + 5):
        history.add(str(number))
    assert len(history.lines) == MAX_HISTORY


def test_a_long_line_scrolls_sideways() -> None:
    data = bytes(range(97, 123)) * 2
    editor, glass = typed(data, width=40)
    assert editor.text.encode() == data
    assert glass.text.startswith(PROMPT + "$")
    assert glass.text.endswith("xyz")
    _, glass = typed(data + b"\x01", width=40)
    assert glass.text.startswith(PROMPT + "abc")
    assert glass.text.endswith("$")
    assert glass.column == len(PROMPT)


def test_a_line_has_an_end() -> None:
    editor, _ = typed(b"x" * (MAX_LINE_CHARS + 10))
    assert len(editor.text) == MAX_LINE_CHARS


def test_a_completed_word_may_change_its_case() -> None:
    editor, glass = typed(b"show user AL")
    glass.show(editor.replace(10, "alice "))
    assert editor.text == "show user alice "
    assert glass.text == PROMPT + "show user alice"


def test_other_output_leaves_the_line_as_it_was() -> None:
    editor, glass = typed(b"drop user\x1b[D\x1b[D")
    glass.show(editor.hide())
    assert glass.text == ""
    glass.show("a log line\n" + editor.start())
    assert glass.text == PROMPT + "drop user"
    assert glass.column == len(PROMPT) + 7


keystrokes = st.lists(
    st.sampled_from([*CONTROLS.values(), *SEQUENCES.values()])
    | st.characters(min_codepoint=32, max_codepoint=126)
    | st.sampled_from("äß日本"),
    max_size=120,
)


@given(keystrokes, st.integers(26, 60))
def test_whatever_is_typed_the_screen_shows_the_line(pressed: list[str | Key], width: int) -> None:
    history = History()
    history.add("show session | include somebody with a long name")
    editor, glass = LineEditor(PROMPT, width, history), Glass(width)
    glass.show(editor.start())
    for key in pressed:
        if key in (Key.ENTER, Key.TAB):
            continue
        glass.show(editor.press(key) if isinstance(key, Key) else editor.insert(key))
        assert 0 <= editor.cursor <= len(editor.text)
    if editor.text.isascii() and len(editor.text) <= width - 1 - len(PROMPT):
        shown = "".join(glass.row[len(PROMPT) : len(PROMPT) + len(editor.text)])
        assert shown == editor.text
        assert glass.column == len(PROMPT) + editor.cursor
    fresh = Glass(width)
    fresh.show(editor.start())
    assert fresh.column == glass.column


def pages(pager: Pager, presses: list[str | Key]) -> list[str]:
    shown = [pager.page()]
    for key in presses:
        assert pager.turn(key)
        shown.append(pager.page())
    return shown


def test_pages() -> None:
    pager = Pager(80, 5)
    pager.put("".join(f"{number}\n" for number in range(10)))
    assert pages(pager, [" ", Key.ENTER]) == ["0\n1\n2\n3\n", "4\n5\n6\n7\n", "8\n"]
    assert not pager.is_empty
    assert not pager.turn("x")
    assert pager.turn(" ")
    assert pager.page() == "9\n"
    assert pager.is_empty


def test_lines_that_are_wider_than_the_screen_count_as_what_they_take() -> None:
    pager = Pager(10, 5)
    pager.put("a" * 25 + "\n" + "b" * 25 + "\n" + "c" * 100 + "\nd\n")
    assert pages(pager, [Key.ENTER, " ", " "]) == [
        "a" * 25 + "\n",
        "b" * 25 + "\n",
        "c" * 100 + "\n",
        "d\n",
    ]


def test_a_screen_without_an_end() -> None:
    pager = Pager(80, 0)
    pager.put("x\n" * 5000)
    assert pager.page() == "x\n" * 5000
    assert pager.is_empty


@given(
    st.lists(st.text(st.sampled_from("ab"), max_size=60), max_size=60),
    st.integers(1, 40),
    st.integers(1, 12),
    st.lists(st.booleans()),
)
def test_every_line_is_shown_once(
    lines: list[str], width: int, height: int, spaces: list[bool]
) -> None:
    pager = Pager(width, height)
    text = "".join(line + "\n" for line in lines)
    pager.put(text)
    shown = pager.page()
    for space in [*spaces, *([True] * (len(lines) + 1))]:
        before = len(shown)
        pager.turn(" " if space else Key.ENTER)
        shown += pager.page()
        assert len(shown) > before or pager.is_empty
    assert shown == text
