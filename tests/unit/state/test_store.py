"""The files: which of them count, and what is wrong with one."""

from pathlib import Path

import pytest

from l2tpns_core.state.errors import StateError
from l2tpns_core.state.lines import encode_line, header
from l2tpns_core.state.store import MAX_REFUSED, Loaded, Store


def record(session_id: int) -> bytes:
    session = {
        "tunnel_id": 1,
        "session_id": session_id,
        "peer_session_id": session_id,
        "unique": session_id,
        "opened": 1.0,
        "lac_address": "192.0.2.2",
    }
    return encode_line(["s", session])


def snapshot(directory: Path, generation: int, *records: bytes, count: int | None = None) -> Path:
    path = directory / f"sessions-{generation:08}.snapshot"
    end = encode_line(["end", len(records) + 1 if count is None else count])
    path.write_bytes(b"".join((header("snapshot", generation), *records, end)))
    return path


def journal(directory: Path, generation: int, *records: bytes) -> Path:
    path = directory / f"sessions-{generation:08}.journal"
    path.write_bytes(b"".join((header("journal", generation), *records)))
    return path


def load(directory: Path) -> Loaded:
    store = Store.open(directory)
    try:
        return store.load()
    finally:
        store.close()


def ids(loaded: Loaded) -> list[int]:
    return [session.session_id for session in loaded.image.sessions.values()]


def test_an_empty_directory_has_nothing(tmp_path: Path) -> None:
    assert not Store.exists(tmp_path)
    loaded = load(tmp_path / "new")
    assert not loaded.refused
    assert loaded.image.is_empty


def test_the_latest_snapshot_counts_with_the_journals_since(tmp_path: Path) -> None:
    snapshot(tmp_path, 1, record(1))
    journal(tmp_path, 1, record(2))
    snapshot(tmp_path, 2, record(3))
    journal(tmp_path, 2, record(4))
    journal(tmp_path, 3, record(5))  # a snapshot that was never finished belongs to it
    (tmp_path / "sessions-00000003.new").write_bytes(b"half")
    loaded = load(tmp_path)
    assert not loaded.refused
    assert ids(loaded) == [3, 4, 5]


def test_a_torn_end_is_told_of_and_does_no_harm(tmp_path: Path) -> None:
    snapshot(tmp_path, 1, record(1))
    path = journal(tmp_path, 1, record(2), record(3))
    path.write_bytes(path.read_bytes()[:-5])
    loaded = load(tmp_path)
    assert not loaded.refused
    assert loaded.notes
    assert ids(loaded) == [1, 2]
    path.write_bytes(path.read_bytes() + bytes(4096))
    assert ids(load(tmp_path)) == [1, 2]
    assert not load(tmp_path).refused


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda old: b"", "empty or damaged"),
        (lambda old: old.replace(b'"user"', b'"User"').replace(b"192", b"193"), "damaged"),
        (lambda old: old[: old.index(b"\n") + 1] + b"?\n" + old[old.index(b"\n") + 1 :], "damaged"),
        (lambda old: b"L2TPNS#2.0.1#" + bytes(900), "damaged"),
        (lambda old: encode_line(["other-program", 1]) + old, "not written by l2tpns"),
        (lambda old: encode_line(["l2tpns-state", 99, "snapshot", 1]) + old, "has format"),
        (lambda old: encode_line(["l2tpns-state", 1, "snapshot", 7]) + old, "renamed"),
        (lambda old: old.rpartition(b"\n")[0].rpartition(b"\n")[0] + b"\n", "incomplete"),
        (lambda old: old[: old.index(b"\n") + 1] + encode_line(["q", 1]) + old, "unknown kind"),
    ],
)
def test_a_bad_snapshot_is_refused(tmp_path: Path, spoil, why: str) -> None:  # type: ignore[no-untyped-def]
    path = snapshot(tmp_path, 1, record(1))
    journal(tmp_path, 1, record(2))
    path.write_bytes(spoil(path.read_bytes()))
    loaded = load(tmp_path)
    assert why in loaded.refused
    assert str(path) in loaded.refused
    assert 2 in ids(loaded)  # what can be read is there for accounting


def test_a_journal_that_is_missing_is_noticed(tmp_path: Path) -> None:
    snapshot(tmp_path, 1, record(1))
    journal(tmp_path, 1, record(2))
    journal(tmp_path, 3, record(3))
    assert "missing" in load(tmp_path).refused
    for path in tmp_path.glob("*.snapshot"):
        path.unlink()
    assert "no snapshot" in load(tmp_path).refused


def test_damage_before_good_lines_of_a_journal_is_no_torn_end(tmp_path: Path) -> None:
    snapshot(tmp_path, 1)
    journal(tmp_path, 1, record(1), b"damage\n", record(2))
    loaded = load(tmp_path)
    assert "damaged" in loaded.refused
    assert ids(loaded) == [1, 2]


def test_what_is_refused_is_kept_but_not_for_ever(tmp_path: Path) -> None:
    for generation in range(1, MAX_REFUSED + 3):
        snapshot(tmp_path, generation)
        store = Store.open(tmp_path)
        (kept,) = store.keep_aside()
        store.close()
        assert kept.exists()
        assert not Store.exists(tmp_path)
    assert len(list(tmp_path.glob("*.refused"))) == MAX_REFUSED


def test_two_processes_do_not_share_a_directory(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    with pytest.raises(StateError, match="another process"):
        Store.open(tmp_path)
    store.close()
    Store.open(tmp_path).close()


def test_files_are_for_their_owner_only(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "state")
    writer = store.snapshot()
    writer.finish()
    store.begin_journal()
    store.close()
    assert {path.stat().st_mode & 0o077 for path in (tmp_path / "state").iterdir()} == {0}
    assert (tmp_path / "state").stat().st_mode & 0o077 == 0
