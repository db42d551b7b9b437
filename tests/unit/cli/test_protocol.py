"""Requests and frames on the socket."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2tpns_core.cli.grammar import Mode
from l2tpns_core.cli.protocol import (
    KINDS,
    ProtocolError,
    Request,
    decode_frame,
    decode_request,
    encode_frame,
    encode_request,
)


@given(
    kind=st.sampled_from(KINDS),
    text=st.text(),
    mode=st.sampled_from(list(Mode)),
    as_json=st.booleans(),
)
def test_request_comes_out_as_it_went_in(kind: str, text: str, mode: Mode, as_json: bool) -> None:
    request = Request(kind, "viewer" if kind == "become" else text, mode, as_json)
    data = encode_request(request)
    assert data.count(b"\n") == 1
    assert data.isascii()
    assert decode_request(data) == request


@given(st.dictionaries(st.text(), st.text() | st.integers()))
def test_frame_comes_out_as_it_went_in(members: dict[str, object]) -> None:
    assert decode_frame(encode_frame(members)) == members


@given(st.binary() | st.builds(lambda value: json.dumps(value).encode(), st.recursive(
    st.none() | st.booleans() | st.text() | st.integers(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from([*KINDS, "mode"]), inner),
)))  # fmt: skip
def test_any_bytes_are_a_request_or_an_error(data: bytes) -> None:
    for decode in (decode_request, decode_frame):
        try:
            decode(data)
        except ProtocolError:
            pass


def test_mode_is_exec_when_none_is_named() -> None:
    assert decode_request(b'{"line": "x"}') == Request("line", "x", Mode.EXEC)
    with pytest.raises(ProtocolError, match="mode"):
        decode_request(b'{"line": "x", "mode": "enable"}')
