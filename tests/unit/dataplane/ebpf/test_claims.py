"""Who has a destination that several sessions claim."""

from l2tpns_core.dataplane.ebpf.claims import Claims


def test_the_last_that_came_has_it_and_then_the_one_before() -> None:
    claims: Claims[str] = Claims()
    for slot in (1, 2, 3):
        claims.add("a", slot)
    assert claims.remove("a", 3) == 2
    assert claims.remove("a", 1) == 2
    assert claims.remove("a", 2) is None
    assert len(claims) == 0


def test_to_claim_again_is_to_come_last() -> None:
    claims: Claims[str] = Claims()
    for slot in (1, 2, 1):
        claims.add("a", slot)
    assert claims.remove("a", 1) == 2


def test_a_claim_that_was_never_made_is_not_given_up() -> None:
    claims: Claims[str] = Claims()
    claims.add("a", 1)
    assert claims.remove("a", 2) == 1
    assert claims.remove("b", 1) is None
    assert claims.remove("a", 1) is None
