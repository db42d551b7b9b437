"""What is on the disk: a daemon that is killed, a torn tail, damage, a disk that fails."""

import asyncio
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2tpns_core.radius.model import AccountingRecord, AccountingStatus
from l2tpns_core.radius.spool.file import HEADER, SpoolFile, decode_line, delivered_line, keep_line
from l2tpns_core.radius.spool.opening import open_spool, read_spool
from l2tpns_core.radius.spool.record import decode_record, encode_record
from l2tpns_core.radius.spool.writer import RETRY_S
from unit.radius.lab import Lab
from unit.radius.spool.depot import (
    START,
    STOP,
    Depot,
    Run,
    acknowledged,
    session,
    times_told,
    usage,
)
from unit.radius.stub import Received, Stub, answer, be_silent

GIVEN_UP_S = 6.5


def body(name: str) -> bytes:
    return encode_record(AccountingRecord(STOP, 1_790_000_000.5, session(name), usage(3), 17))


def spool_of(directory: Path) -> list[str]:
    """The sessions whose records a spool holds."""
    opened = read_spool(directory)
    opened.file.close()
    return [entry.session.lstrip("0") for entry in opened.queue.entries()]


def write(directory: Path, *lines: bytes, header: bytes = HEADER) -> Path:
    path = directory / "records"
    path.write_bytes(header + b"".join(lines))
    return path


def notes_of(directory: Path) -> list[str]:
    opened = read_spool(directory)
    opened.file.close()
    return opened.notes


def test_after_a_kill_the_next_process_delivers_each_record_once(run: Run, tmp_path: Path) -> None:
    async def scenario(lab: Lab) -> None:
        await lab.start(Stub(be_silent))
        depot, (stub,) = Depot(lab, tmp_path), lab.stubs
        for number in range(100):
            depot.report(str(number), STOP, usage=usage(number))
        await asyncio.sleep(60)

        def take_forty(stub: Stub, request: Received) -> None:
            answer(stub, request)
            if depot.courier.counters.delivered >= 40:
                stub.behave = be_silent

        stub.behave = take_forty
        await asyncio.sleep(20)
        delivered = depot.courier.counters.delivered
        assert 40 <= delivered < 100
        depot.die()
        stub.close()
        await lab.start(Stub())
        later = Depot(lab, tmp_path)
        assert later.courier.status().records == 100 - delivered
        await asyncio.sleep(60)
        assert len(acknowledged(lab.stubs[0])) == 100 - delivered
        assert set(times_told(lab.stubs[0]).values()) == {1}
        later.die()
        assert spool_of(tmp_path) == []

    run(scenario)


def test_at_the_stop_what_is_out_goes_to_the_spool_in_its_order(run: Run, tmp_path: Path) -> None:
    async def scenario(lab: Lab) -> None:
        await lab.start(Stub(be_silent))
        depot = Depot(lab, tmp_path)
        for number in range(10):
            depot.report(str(number), START)
        await asyncio.sleep(1)
        for number in range(10):
            depot.report(str(number), STOP)
        await depot.courier.drain(2.0)
        assert [name for name, ok in depot.done if ok] == [
            f"{kind} {number}" for number in range(10) for kind in ("START", "STOP")
        ]
        await depot.courier.close()
        assert sorted(spool_of(tmp_path)) == sorted([*map(str, range(1, 10)), ""] * 2)

    run(scenario)


def test_the_stop_does_not_wait_for_servers_that_are_known_to_be_gone(
    run: Run, tmp_path: Path
) -> None:
    async def scenario(lab: Lab) -> None:
        await lab.start(Stub(be_silent))
        depot = Depot(lab, tmp_path)
        depot.report("1", STOP)
        await asyncio.sleep(60)
        depot.report("2", STOP)
        before = lab.loop.time()
        await depot.courier.drain(15.0)
        assert lab.loop.time() == before
        await depot.courier.close()
        assert spool_of(tmp_path) == ["1", "2"]

    run(scenario)


def test_a_torn_tail_is_left_out_with_a_line(tmp_path: Path) -> None:
    whole = [keep_line(1, body("1")), keep_line(2, body("2"))]
    for length in range(1, len(keep_line(3, body("3")))):
        write(tmp_path, *whole, keep_line(3, body("3"))[:length])
        notes = notes_of(tmp_path)
        assert len(notes) == 1
        assert "the last line was never finished" in notes[0]
        assert spool_of(tmp_path) == ["1", "2"]
    assert [path.name for path in tmp_path.iterdir() if "damaged" in path.name] == []


@pytest.mark.parametrize("place", [0, 3, 9, 11, 40])
def test_damage_costs_its_line_alone_and_the_file_is_kept_aside(tmp_path: Path, place: int) -> None:
    bad = bytearray(keep_line(2, body("2")))
    bad[place] ^= 1
    path = write(tmp_path, keep_line(1, body("1")), bytes(bad), keep_line(3, body("3")))
    damaged = path.read_bytes()
    notes = notes_of(tmp_path)
    assert "1 lines are damaged, 2 records are good" in notes[0]
    (aside,) = tmp_path.glob("records.damaged-*")
    assert str(aside) in notes[1]
    assert aside.read_bytes() == damaged
    assert spool_of(tmp_path) == ["1", "3"]


@pytest.mark.parametrize(
    "header", [b"", b"something else\n", b"l2tpns-accounting-spool 2\n", b"\0" * 200]
)
def test_a_foreign_file_is_kept_aside(tmp_path: Path, header: bytes) -> None:
    write(tmp_path, keep_line(1, body("1")), header=header)
    notes = notes_of(tmp_path)
    assert "foreign, or of another version" in notes[0]
    assert len(list(tmp_path.glob("records.damaged-*"))) == 1
    assert spool_of(tmp_path) == []


def test_delivered_records_do_not_come_back_and_numbers_go_on(tmp_path: Path) -> None:
    write(tmp_path, keep_line(7, body("1")), keep_line(8, body("2")), delivered_line(7))
    opened = read_spool(tmp_path)
    opened.file.close()
    assert [entry.number for entry in opened.queue.entries()] == [8]
    assert opened.last_number == 8
    assert (tmp_path / "records").read_bytes() == HEADER + keep_line(8, body("2"))


def test_a_record_that_is_none_is_left_out_with_a_line(tmp_path: Path) -> None:
    write(tmp_path, keep_line(1, b'{"status":99}'), keep_line(2, body("2")))
    (note,) = notes_of(tmp_path)
    assert "record 1 is left out" in note


def test_two_daemons_do_not_share_a_spool(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        file = SpoolFile(tmp_path)
        try:
            await open_spool(None, tmp_path, loop, is_needed=True)  # type: ignore[arg-type]
        finally:
            file.close()

    asyncio.run(main())
    assert "another daemon uses it (see accounting_spool)" in caplog.text


def test_a_directory_that_cannot_be_used_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        await open_spool(None, tmp_path / "file" / "spool", loop, is_needed=True)  # type: ignore[arg-type]

    asyncio.run(main())
    assert "will be lost: cannot use" in caplog.text


def test_a_disk_that_fails_costs_nothing_as_long_as_the_process_lives(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(lab: Lab) -> None:
        await lab.start(Stub(be_silent))
        depot, (stub,) = Depot(lab, tmp_path), lab.stubs
        depot.report("1", STOP)
        await asyncio.sleep(GIVEN_UP_S)
        full = write_a_part_then_fail(monkeypatch)
        for number in range(2, 6):
            depot.report(str(number), STOP)
            await asyncio.sleep(1)
        assert not depot.courier.status().on_disk
        assert caplog.text.count("No space left on device; they are kept in memory only") == 1
        assert len(depot.done) == 5
        full.clear()
        await asyncio.sleep(RETRY_S + 1)
        assert depot.courier.status().on_disk
        lines = (tmp_path / "records").read_bytes().splitlines()[1:]
        assert [decode_line(line + b"\n")[0] for line in lines] == [1, 2, 3, 4, 5]
        write_a_part_then_fail(monkeypatch)
        stub.behave, back_at = answer, lab.loop.time()
        await asyncio.sleep(60)
        assert len(acknowledged(stub, back_at)) == 5
        assert depot.courier.status().records == 0

    run(scenario)


def write_a_part_then_fail(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Have the disk be full, half a line from now, until the list is cleared."""
    real, full = os.write, [1]

    def fail(descriptor: int, data: bytes) -> int:
        if not full or descriptor < 3:
            return real(descriptor, data)
        if full.pop() == 1:
            full.append(2)
            return real(descriptor, bytes(data)[: len(data) // 2])
        full.append(2)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("l2tpns_core.radius.spool.file.os.write", fail)
    return full


def test_the_file_does_not_grow_with_what_was_delivered(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("l2tpns_core.radius.spool.writer.WASTE_BYTES", 20_000)

    async def scenario(lab: Lab) -> None:
        await lab.start(Stub(be_silent))
        depot, (stub,) = Depot(lab, tmp_path), lab.stubs
        for _ in range(10):
            stub.behave = be_silent
            for number in range(100):
                depot.report(str(number), STOP)
            await asyncio.sleep(40)
            assert depot.courier.status().records == 100
            stub.behave = answer
            await asyncio.sleep(60)
            assert depot.courier.status().records == 0
            assert (tmp_path / "records").stat().st_size < 100_000

    run(scenario)


names = st.text(max_size=40)


@given(
    st.sampled_from(AccountingStatus),
    st.floats(0, 2**40),
    names,
    st.lists(st.binary(max_size=20), max_size=5),
    st.lists(st.tuples(names.filter(bool), st.integers(0) | names | st.binary()), max_size=4),
    st.integers(0, 2**64 - 1),
)
def test_a_record_comes_back_as_it_was(
    status: AccountingStatus,
    event_time: float,
    text: str,
    classes: list[bytes],
    extra: list[tuple[str, object]],
    number: int,
) -> None:
    identity = session("7")
    identity.user, identity.classes = text, tuple(classes)
    extra = [(name, value) for name, value in extra if not isinstance(value, int) or value < 2**64]
    record = AccountingRecord(
        status, event_time, identity, usage(number % 1000), number, 6, text, extra
    )
    assert decode_record(encode_record(record)) == record
    line = keep_line(number % 10**18, encode_record(record))
    assert decode_line(line) == (number % 10**18, encode_record(record))


def test_a_name_that_was_no_text_comes_back_as_it_was() -> None:
    record = AccountingRecord(START, 1.0, session("7"))
    assert record.identity is not None
    record.identity.user = b"\xff\xfe".decode("utf-8", "surrogateescape")
    assert decode_record(encode_record(record)) == record
