"""Challenge and response (RFC 2661 section 4.2)."""

import hashlib

from l2tpns_core.l2tp.auth import challenge_response, response_is_right
from l2tpns_core.l2tp.codes import MessageType


def test_response_is_the_digest_of_message_type_secret_and_challenge() -> None:
    answer = hashlib.md5(b"\x02" + b"secret" + b"challenge").digest()
    assert challenge_response(MessageType.SCCRP, b"secret", b"challenge") == answer


def test_response_for_one_message_does_not_serve_for_another() -> None:
    response = challenge_response(MessageType.SCCRP, b"secret", b"challenge")
    assert response_is_right(MessageType.SCCRP, b"secret", b"challenge", response)
    assert not response_is_right(MessageType.SCCCN, b"secret", b"challenge", response)
    assert not response_is_right(MessageType.SCCRP, b"Secret", b"challenge", response)
    assert not response_is_right(MessageType.SCCRP, b"secret", b"challenge", b"")
