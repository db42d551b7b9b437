"""The configuration fuzz entry under hypothesis: raw bytes, and lines that nearly make sense."""

from hypothesis import given
from hypothesis import strategies as st

from fuzz.fuzz_config import one_input
from l2tpns_core.config.directives import DIRECTIVES

words = st.sampled_from(
    [
        *(name.encode() for name in DIRECTIVES),
        *(
            b"set|load|remove|plugin|show|session|drop|configure|yes|no|10.0.0.1|/24|65536".split(
                b"|"
            )
        ),
        *(b'" \' # ! | : , \\ \n \xff \x00 {"line": "show"} \xe2\x80\xae'.split(b" ")),
        *b"\nip access-list standard x\n|permit|deny|host|any|0.0.0.255|tcp|eq|range".split(b"|"),
        b" ",
    ]
)


@given(st.binary(max_size=300))
def test_raw_bytes(data: bytes) -> None:
    one_input(data)


@given(st.lists(words | st.binary(max_size=3), max_size=30).map(b" ".join))
def test_lines_that_nearly_make_sense(data: bytes) -> None:
    one_input(data)
