"""Numbers and their texts."""

import pytest

from l2tpns_core.l2tp.codes import (
    SESSION_MESSAGES,
    CdnResult,
    DisconnectCode,
    GeneralError,
    MessageType,
    StopResult,
)
from unit.l2tp.wire import ALL_MESSAGES


@pytest.mark.parametrize(
    ("codes", "numbers"),
    [
        (StopResult, range(1, 8)),
        (CdnResult, range(1, 12)),
        (GeneralError, range(9)),
        (DisconnectCode, range(21)),
    ],
)
def test_every_number_of_the_rfc_has_its_own_text(codes: type, numbers: range) -> None:
    members = list(codes)
    assert sorted(members) == list(numbers)
    assert len({member.text for member in members}) == len(members)
    assert all(member.text for member in members)


def test_message_types_are_those_of_section_3_2() -> None:
    assert sorted(MessageType) == sorted(ALL_MESSAGES)


def test_session_messages_are_those_about_calls() -> None:
    assert sorted(SESSION_MESSAGES) == [7, 8, 9, 10, 11, 12, 14, 15, 16]
