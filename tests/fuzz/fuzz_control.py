"""Fuzz entry for nsctl packets, in the server and in the client: run it under a fuzzer, or feed it
files by name.

python fuzz_control.py FILE...
"""

import sys
from pathlib import Path

from l2tpns_core.config.directives import Config
from l2tpns_core.control import seal, wire
from l2tpns_core.control.client import ClientError, decode
from l2tpns_core.control.dispatch import Dispatcher
from l2tpns_core.control.server import ControlServer
from l2tpns_core.control.wire import WireError
from l2tpns_core.plugins.manager import PluginManager
from l2tpns_core.session import Session

SECRET = "fuzz"
NONCE = bytes(16)
SOURCE = ("192.0.2.7", 40000)


class OneSession:
    """An LNS that takes every order for its one session."""

    def __init__(self) -> None:
        self.config = Config()
        self.session = Session(1, 1, 1, 1, 0.0, None, "", user="a", ip=1)

    def find_session(self, text: str) -> Session:
        if text not in ("1", "1/1"):
            raise LookupError(text)
        return self.session

    def sessions_of_user(self, user: str) -> list[Session]:
        return [self.session] if user == "a" else []

    def drop_session(self, session: Session, reason: str) -> None:
        assert reason.isprintable()

    def kill_session(self, session: Session, reason: str) -> None:
        assert reason.isprintable()

    def throttle(self, session: Session, rate_in: int, rate_out: int) -> None:
        assert min(rate_in, rate_out) >= -1

    def snoop(self, session: Session, ip: int, port: int) -> None:
        assert 0 <= ip < 1 << 32
        assert 0 <= port < 1 << 16


DISPATCHER = Dispatcher(OneSession(), PluginManager())


def one_input(data: bytes) -> None:
    """Anything at all to a server without and with a secret, bare and sealed, and to a client.

    Nothing may leave the server but an answer, nothing the client but ClientError.
    """
    answer_of(data, "")
    answer_of(data, SECRET)
    sealed = seal.seal_request(data, SECRET.encode(), NONCE, 1000.0)
    answer = answer_of(sealed, SECRET)
    assert answer is not None
    decode(answer, SECRET.encode(), NONCE)
    for secret in (b"", SECRET.encode()):
        try:
            decode(data, secret, NONCE)
        except ClientError:
            pass


def answer_of(data: bytes, secret: str) -> bytes | None:
    """What a new server answers; with its counters kept right, and readable."""
    server = ControlServer(DISPATCHER, secret=secret, clock=lambda: 0.0, wall=lambda: 1000.0)
    answer = server.receive(data, SOURCE)
    assert server.counters.failures == 0
    if answer is None:
        assert wire.is_reply(data)
        return None
    assert len(answer) <= seal.MAX_SEALED
    if not seal.is_sealed(answer):
        try:
            wire.decode_reply(answer)
        except WireError as error:
            raise AssertionError("the answer is not readable") from error
    return answer


if __name__ == "__main__":
    for name in sys.argv[1:]:
        one_input(Path(name).read_bytes())
