"""A client between stub servers, with what its callbacks were told."""

import contextlib
from dataclasses import replace
from typing import Any

from l2tpns_core.radius.client import RadiusClient, RadiusConfig, RadiusServer
from l2tpns_core.radius.model import (
    AccessReply,
    AccessRequest,
    AccountingRecord,
    AccountingStatus,
    Credentials,
    PapCredentials,
    SessionIdentity,
)
from unit.radius.stub import SECRET, Stub
from unit.radius.virtual_loop import VirtualLoop

WALL = 1_700_000_000.0


class Lab:
    """Stub servers, and a client that asks them in their order."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.loop = loop
        self.stubs: list[Stub] = []
        self.replies: list[AccessReply] = []
        self.acknowledged: list[bool] = []
        self.client: RadiusClient

    async def start(self, *stubs: Stub, **settings: Any) -> RadiusClient:
        self.stubs = [await stub.start() for stub in stubs]
        self.client = RadiusClient(self.config(*self.stubs, **settings), self.loop, wall=self.wall)
        return self.client

    def config(self, *stubs: Stub, **settings: Any) -> RadiusConfig:
        """Authentication and accounting share a port: the code of a packet tells them apart."""
        servers = tuple(RadiusServer("127.0.0.1", stub.port, stub.port) for stub in stubs)
        return replace(
            RadiusConfig(servers, SECRET, nas_ip="192.0.2.1", nas_identifier="lns"), **settings
        )

    def wall(self) -> float:
        return WALL + self.loop.time() - 1000.0

    def ask(self, user: bytes = b"alice", credentials: Credentials | None = None) -> int:
        return self.client.authenticate(self.request(user, credentials), self.replies.append)

    def request(
        self, user: bytes = b"alice", credentials: Credentials | None = None
    ) -> AccessRequest:
        return AccessRequest(identity(), user, credentials or PapCredentials(b"correct horse"))

    def report(self, status: AccountingStatus = AccountingStatus.START, **fields: Any) -> int:
        return self.client.account(self.record(status, **fields), self.acknowledged.append)

    def record(
        self, status: AccountingStatus = AccountingStatus.START, **fields: Any
    ) -> AccountingRecord:
        return AccountingRecord(status, self.wall(), identity(), **fields)

    async def settle(self, limit_s: float = 600.0) -> None:
        """Until nothing is pending."""
        assert await self.client.drain(limit_s) == 0

    def close(self) -> None:
        with contextlib.suppress(AttributeError):
            self.client.close()
        for stub in self.stubs:
            stub.close()


def identity(**fields: Any) -> SessionIdentity:
    return replace(
        SessionIdentity(
            session_key=3 << 16 | 7,
            tunnel_id=3,
            session_id=7,
            user="alice",
            accounting_id="000000016553F100",
            calling_number="0123456789",
            called_number="isp",
            connect_info="1024000/128000",
            lac_address="198.51.100.9",
        ),
        **fields,
    )
