"""Names from the net, made fit for a line."""

from hypothesis import given
from hypothesis import strategies as st

from l2tpns_core.observe.text import printable, token

anything = st.text() | st.text(st.characters(categories=["Cs", "Cc", "Cf", "Zs", "L"]))


@given(anything)
def test_printable_text_prints_and_encodes(text: str) -> None:
    assert printable(text).isprintable()
    printable(text).encode()


@given(anything.filter(str.isprintable))
def test_what_prints_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


@given(anything)
def test_token_is_one_word_and_can_be_told_apart(text: str) -> None:
    found = token(text)
    assert found.split() == ([found] if text else [])
    assert not set(found) & set("[]")
    assert found.replace("\\x", "").count("\\") == 0


def test_examples() -> None:
    assert printable("a\x1b[2J\r\nb") == "a\\x1b[2J\\x0d\\x0ab"
    assert printable("zoë\u202e") == "zoë\\xe2\\x80\\xae"
    assert token("joe user] \\") == "joe\\x20user\\x5d\\x20\\x5c"
