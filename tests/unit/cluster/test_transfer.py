"""Pieces and changes in the order in which the master had them."""

from collections.abc import Iterator, Sequence
from typing import Any

from l2tpns_core.cluster.history import Batch, History, Lineage
from l2tpns_core.cluster.messages import Fetch, Piece
from l2tpns_core.cluster.transfer import FETCH_S, WINDOW, Receiving, Sending


def piece(number: int, sequence: int, *, is_last: bool = False) -> Piece:
    return Piece(1, 1, number, sequence, b"", is_last)


def test_changes_come_between_the_pieces_that_were_read_before_and_after_them() -> None:
    receiving = Receiving(1, 1, 0.0)
    waiting = {number: Batch(number, b"") for number in (9, 8, 7, 6)}
    receiving.add(piece(1, 7), 0.0)
    assert receiving.next(waiting) is None, "the first piece is missing"
    receiving.add(piece(0, 5), 0.0)
    order = []
    while (found := receiving.next(waiting)) is not None:
        order.append((type(found).__name__, found.sequence))
    assert order == [("Piece", 5), ("Batch", 6), ("Batch", 7), ("Piece", 7)]
    assert sorted(waiting) == [8, 9], "these are not known to come before the next piece"


def test_a_piece_waits_for_the_changes_that_it_contains() -> None:
    receiving = Receiving(1, 1, 0.0)
    receiving.add(piece(0, 5), 0.0)
    receiving.add(piece(1, 7), 0.0)
    assert receiving.next({}) is not None
    assert receiving.next({7: Batch(7, b"")}) is None
    assert receiving.wants_changes


def slices(count: int) -> Iterator[Sequence[list[Any]]]:
    return iter([["S", number]] for number in range(count))


def test_no_more_pieces_are_under_way_than_the_window() -> None:
    sending = Sending(1, 1, slices(1000))
    sending.fetch(Fetch(1, 1))
    sent = 0
    while sending.has_work:
        sent += len(sending.work(0, ()))
    assert sent == WINDOW
    sending.fetch(Fetch(1, 1, 10))
    while sending.has_work:
        sent += len(sending.work(0, ()))
    assert sent == WINDOW + 10


def test_what_is_missing_comes_again_and_so_does_a_lost_end() -> None:
    sending = Sending(1, 1, slices(5))
    while sending.has_work:
        sending.work(0, ())
    assert [each.number for each in sending.fetch(Fetch(1, 1, 2, (2, 4)))] == [2, 4]
    assert [each.number for each in sending.fetch(Fetch(1, 1, 3))] == []
    assert [each.number for each in sending.fetch(Fetch(1, 1, 3))] == [3, 4, 5]


def test_a_slave_asks_again_when_nothing_comes() -> None:
    receiving = Receiving(1, 1, 0.0)
    receiving.add(piece(0, 5), 1.0)
    receiving.add(piece(3, 5), 1.0)
    receiving.next({})
    assert receiving.fetch_at == 1.0 + FETCH_S
    assert receiving.fetch(2.0) == Fetch(1, 1, 1, (1, 2))


def test_a_history_has_the_last_changes_without_a_gap() -> None:
    history = History(10)
    assert (history.oldest, history.get(10)) == (11, None)
    for number in range(11, 40_000):
        history.add(Batch(number, b"x"))
    assert history.head == 39_999
    assert history.get(history.oldest) == Batch(history.oldest, b"x")
    assert history.get(history.oldest - 1) is None
    assert history.get(40_000) is None


def test_where_two_lineages_part() -> None:
    trunk = Lineage().then(10, 0).then(20, 100)
    one, other = trunk.then(30, 150), trunk.then(31, 140)
    assert one.common(other, 500, 600) == 140
    assert one.end_of(20, 500) == 150
    assert one.end_of(30, 500) == 500
    assert one.end_of(99, 500) is None
    assert Lineage().common(one, 5, 5) == 0
