"""The lab's RADIUS server over real sockets, asked with pyrad's packets."""

import asyncio
import hashlib
import json
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from pyrad.packet import (
    AccessAccept,
    AccessReject,
    AccountingResponse,
    AcctPacket,
    AuthPacket,
    StatusServer,
)

from l2tpns_core.lab import RadiusServer, RadiusUser, UsersError
from l2tpns_core.lab.radius_users import dictionary
from unit.lab.virtual_loop import run

SECRET = b"s3cret"
USERS = {
    "alice": RadiusUser(
        "wonder",
        {
            "Framed-IP-Address": ["10.20.5.5"],
            "Framed-Route": ["10.30.0.0/24 0.0.0.0 1", "10.31.0.0/24 0.0.0.0 1"],
            "Service-Type": ["Framed-User"],
            "Class": [b"gold"],
        },
    ),
    "locked": RadiusUser("right", {"Reply-Message": ["locked"]}, reject=True),
    "anybody": RadiusUser(any_password=True),
}


class Asker:
    """A RADIUS client with one socket, non-blocking: see `ask`."""

    def __init__(self, server: RadiusServer) -> None:
        self.server = server
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setblocking(False)

    async def ask(self, datagram: bytes, accounting: bool = False) -> bytes | None:
        """The answer that comes within a second."""
        to = self.server.acct_address if accounting else self.server.auth_address
        self.sock.sendto(datagram, to)
        try:
            async with asyncio.timeout(1):
                return await asyncio.get_running_loop().sock_recv(self.sock, 4096)
        except TimeoutError:
            return None

    async def log_in(self, request: AuthPacket) -> Any:
        """The verified reply, or None."""
        raw = await self.ask(request.RequestPacket())
        if raw is None:
            return None
        reply = request.CreateReply(packet=raw)
        assert request.VerifyReply(reply, raw, enforce_ma=True)
        assert raw[20] == 80  # the Message-Authenticator comes first
        return reply

    async def account(self, **attributes: Any) -> Any:
        request = AcctPacket(secret=SECRET, dict=dictionary(), **attributes)
        raw = await self.ask(request.RequestPacket(), accounting=True)
        if raw is None:
            return None
        reply = request.CreateReply(packet=raw)
        assert request.VerifyReply(reply, raw)
        return reply


def pap(user: str, password: str, secret: bytes = SECRET, signed: bool = True) -> AuthPacket:
    request = AuthPacket(secret=secret, authenticator=os.urandom(16), dict=dictionary())
    request["User-Name"] = user
    request[2] = [request.PwCrypt(password)]
    if signed:
        request.add_message_authenticator()
    return request


def chap(user: str, password: str, explicit: bool = True) -> AuthPacket:
    request = AuthPacket(secret=SECRET, authenticator=os.urandom(16), dict=dictionary())
    challenge = b"0123456789abcdef" if explicit else request.authenticator
    value = hashlib.md5(b"\x07" + password.encode() + challenge).digest()
    request["User-Name"] = user
    request["CHAP-Password"] = b"\x07" + value
    if explicit:
        request["CHAP-Challenge"] = challenge
    return request


def serve(scene: Callable[[RadiusServer, Asker], Awaitable[None]], **options: Any) -> RadiusServer:
    """Run a scene with a server on the loopback."""
    server = RadiusServer(USERS, secret=SECRET, auth_port=0, acct_port=0, **options)

    async def main() -> None:
        server.start()
        asker = Asker(server)
        try:
            await scene(server, asker)
        finally:
            server.stop()
            asker.sock.close()

    run(main())
    return server


def verdict(request: AuthPacket, **options: Any) -> Any:
    """The reply to one request, or None."""
    replies: list[Any] = []

    async def scene(server: RadiusServer, asker: Asker) -> None:
        replies.append(await asker.log_in(request))

    serve(scene, **options)
    return replies[0]


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (pap("alice", "wonder"), AccessAccept),
        (pap("alice", "wonder", signed=False), AccessAccept),
        (pap("alice", "w" * 40), AccessReject),
        (pap("alice", ""), AccessReject),
        (pap("nobody", "wonder"), AccessReject),
        (pap("locked", "right"), AccessReject),
        (pap("anybody", "whatever"), AccessAccept),
        (chap("alice", "wonder"), AccessAccept),
        (chap("alice", "wonder", explicit=False), AccessAccept),
        (chap("alice", "other"), AccessReject),
    ],
)
def test_the_verdict_is_signed_and_right(request_: AuthPacket, code: int) -> None:
    assert verdict(request_).code == code


def test_an_accept_carries_the_users_attributes() -> None:
    reply = verdict(pap("alice", "wonder"))
    assert reply["Framed-IP-Address"] == ["10.20.5.5"]
    assert len(reply["Framed-Route"]) == 2
    assert reply["Service-Type"] == ["Framed-User"]
    assert reply["Class"] == [b"gold"]


def test_a_reject_carries_attributes_only_for_a_user_to_be_rejected() -> None:
    assert verdict(pap("locked", "right"))["Reply-Message"] == ["locked"]
    assert "Framed-IP-Address" not in verdict(pap("alice", "wrong"))


def test_a_request_without_any_password_is_rejected() -> None:
    request = AuthPacket(secret=SECRET, authenticator=os.urandom(16), dict=dictionary())
    request["User-Name"] = "alice"
    assert verdict(request).code == AccessReject


def test_every_login_can_be_rejected() -> None:
    assert verdict(pap("alice", "wonder"), reject=True).code == AccessReject


def test_a_message_authenticator_of_another_secret_is_not_answered() -> None:
    async def scene(server: RadiusServer, asker: Asker) -> None:
        request = pap("alice", "wonder", secret=b"other")
        assert await asker.ask(request.RequestPacket()) is None

    server = serve(scene)
    assert server.counters.bad_authenticator == 1
    assert server.requests == []


def test_a_message_authenticator_can_be_demanded() -> None:
    assert verdict(pap("alice", "wonder", signed=False), require_message_authenticator=True) is None
    assert verdict(pap("alice", "wonder"), require_message_authenticator=True) is not None


def test_a_status_server_request_is_answered() -> None:
    async def scene(server: RadiusServer, asker: Asker) -> None:
        request = AuthPacket(
            StatusServer, secret=SECRET, authenticator=os.urandom(16), dict=dictionary()
        )
        request.add_message_authenticator()
        assert (await asker.log_in(request)).code == AccessAccept

    assert serve(scene).requests == []


def test_a_repeated_request_gets_the_same_answer_and_counts_once() -> None:
    async def scene(server: RadiusServer, asker: Asker) -> None:
        datagram = pap("alice", "wonder").RequestPacket()
        first, second = await asker.ask(datagram), await asker.ask(datagram)
        assert first == second is not None

    server = serve(scene)
    assert (len(server.requests), server.counters.duplicates) == (1, 1)


def test_accounting_is_kept_written_and_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "accounting.jsonl"

    async def scene(server: RadiusServer, asker: Asker) -> None:
        waiting = asyncio.create_task(server.wait_for_records("Stop", "alice"))
        for status in ("Start", "Stop"):
            reply = await asker.account(
                User_Name="alice", Acct_Status_Type=status, Acct_Session_Id="7", Class=b"\xff"
            )
            assert reply.code == AccountingResponse
        [stop] = await waiting
        assert stop["Acct-Session-Id"] == "7"
        with pytest.raises(TimeoutError):
            await server.wait_for_records("Stop", "bob", timeout_s=3)

    server = serve(scene, accounting_file=path)
    assert [record["Acct-Status-Type"] for record in server.accounting] == ["Start", "Stop"]
    assert len(server.records(user="alice")) == 2
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["Acct-Status-Type"] for line in lines] == ["Start", "Stop"]
    assert lines[0]["Class"] == "ff"


def test_forged_accounting_is_not_answered() -> None:
    async def scene(server: RadiusServer, asker: Asker) -> None:
        request = AcctPacket(secret=b"other", dict=dictionary(), Acct_Status_Type="Start")
        assert await asker.ask(request.RequestPacket(), accounting=True) is None

    server = serve(scene)
    assert (server.counters.bad_authenticator, server.accounting) == (1, [])


@pytest.mark.parametrize("misbehaviour", [{"silent": True}, {"drop_percent": 100.0}])
def test_a_server_that_is_off_answers_nobody(misbehaviour: dict[str, Any]) -> None:
    async def scene(server: RadiusServer, asker: Asker) -> None:
        assert await asker.log_in(pap("alice", "wonder")) is None
        server.silent, server.drop_percent = False, 0.0
        assert await asker.log_in(pap("alice", "wonder")) is not None

    server = serve(scene, **misbehaviour)
    assert server.counters.dropped == 1
    assert len(server.requests) == 1


def test_a_slow_server_answers_after_its_delay() -> None:
    async def scene(server: RadiusServer, asker: Asker) -> None:
        loop = asyncio.get_running_loop()
        before = loop.time()
        assert await asker.log_in(pap("alice", "wonder")) is not None
        assert loop.time() - before == pytest.approx(0.7)

    serve(scene, delay_s=0.7)


def test_garbage_is_counted_and_not_answered() -> None:
    async def scene(server: RadiusServer, asker: Asker) -> None:
        good = pap("alice", "wonder").RequestPacket()
        for datagram in (b"", b"x" * 5, good[:-1], good[:20] + b"\x01\x01", b"\x02" + good[1:]):
            assert await asker.ask(datagram) is None
        assert await asker.ask(b"\x05" + bytes(19), accounting=True) is None

    server = serve(scene)
    assert server.requests == []
    assert server.counters.malformed == 6


def test_a_watcher_hears_of_each_request_once() -> None:
    heard: list[Any] = []

    async def scene(server: RadiusServer, asker: Asker) -> None:
        server.watch = heard.append
        datagram = pap("alice", "nope").RequestPacket()
        await asker.ask(datagram)
        await asker.ask(datagram)

    serve(scene)
    assert [record.accepted for record in heard] == [False]
    assert "wonder" not in heard[0].as_json()


def test_a_user_whose_reply_cannot_be_sent_stops_the_start() -> None:
    async def main() -> None:
        server = RadiusServer({"x": RadiusUser(reply={"No-Such": [1]})}, auth_port=0, acct_port=0)
        with pytest.raises(UsersError, match="user x: no attribute No-Such"):
            server.start()

    run(main())
