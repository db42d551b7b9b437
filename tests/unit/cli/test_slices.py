"""However many sessions there are, no command keeps the loop for more than a slice of them."""

import asyncio
import json
from pathlib import Path

import pytest

from l2tpns_core.cli import engine
from l2tpns_core.cli.engine import CliServer
from l2tpns_core.cli.protocol import Request, encode_request
from l2tpns_core.session import Session
from unit.cli.fakes import FakeContext, FakeLns

SESSIONS = 5_000


class CountedSessions(dict[int, Session]):
    """Counts how many sessions are looked at between two turns of the loop."""

    def __init__(self, sessions: dict[int, Session]) -> None:
        super().__init__(sessions)
        self.looked = self.most = 0

    def get(self, key: int, default: Session | None = None) -> Session | None:  # type: ignore[override]
        self.looked += 1
        self.most = max(self.most, self.looked)
        return super().get(key, default)


def crowd() -> FakeContext:
    context = FakeContext()
    lns: FakeLns = context.lns
    for number in range(1, SESSIONS + 1):
        lns.add(1, number, f"user-{number}", throttle_in=number % 2 * 100)
    lns.sessions = CountedSessions(lns.sessions)
    return context


async def ask(path: Path, line: str, sessions: CountedSessions, *, as_json: bool) -> str:
    """The output of a command; every turn of the loop is counted from nought."""

    async def turn() -> None:
        while True:
            sessions.looked = 0
            await asyncio.sleep(0)

    turning = asyncio.create_task(turn())
    reader, writer = await asyncio.open_unix_connection(str(path), limit=1 << 20)
    try:
        writer.write(encode_request(Request("line", line, json=as_json)))
        text = ""
        while True:
            frame = json.loads(await reader.readline())
            if "status" in frame:
                assert frame["status"] == "ok", frame
                return text
            text += frame["text"]
    finally:
        turning.cancel()
        writer.close()
        await writer.wait_closed()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cli.sock"


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize(
    "line",
    [
        "show session",
        "show users",
        "show throttle",
        "show histogram idle",
        "show histogram open",
        "show top",
    ],
)
def test_a_long_listing_is_made_in_slices(path: Path, line: str, as_json: bool) -> None:
    context = crowd()
    sessions = context.lns.sessions
    assert isinstance(sessions, CountedSessions)

    async def act() -> str:
        server = CliServer(context, path)
        await server.start()
        try:
            return await ask(path, line, sessions, as_json=as_json)
        finally:
            await server.close()

    text = asyncio.run(act())
    if as_json:
        json.loads(text)
    assert 0 < sessions.most <= 2 * engine.SLICE_ROWS


@pytest.mark.parametrize(
    "filters",
    ["include user-4999", "exclude user", "include user | exclude 1 | count", "begin user-4000"],
)
def test_lines_that_filters_leave_out_count_as_work(path: Path, filters: str) -> None:
    context = crowd()
    sessions = context.lns.sessions
    assert isinstance(sessions, CountedSessions)

    async def act() -> None:
        server = CliServer(context, path)
        await server.start()
        await ask(path, f"show session | {filters}", sessions, as_json=False)
        await server.close()

    asyncio.run(act())
    assert 0 < sessions.most <= 2 * engine.SLICE_ROWS
