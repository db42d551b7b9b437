"""A transaction on a rule set that somebody else keeps changing."""

import errno
from collections.abc import Iterable

import pytest

from l2tpns_plugins_garden import firewall
from l2tpns_plugins_garden.firewall import Firewall
from l2tpns_plugins_garden.inspection import RuleSet
from l2tpns_plugins_garden.netlink import NetfilterError
from l2tpns_plugins_garden.settings import Settings, layout_of


class Kernel:
    """Refuses so many transactions because the rule set has changed meanwhile."""

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals

    def transaction(self, messages: Iterable[bytes], generation: int = 0) -> None:
        assert list(messages)
        self.refusals -= 1
        if self.refusals >= 0:
            raise NetfilterError(errno.ERESTART, "changing the rule set")


def made(refusals: int, monkeypatch: pytest.MonkeyPatch) -> Firewall:
    monkeypatch.setattr(firewall, "inspect", lambda kernel, layout: RuleSet(1))
    made = Firewall(layout_of(Settings()))
    made._kernel = Kernel(refusals)  # type: ignore[assignment]
    return made


def test_it_is_made_anew_for_as_long_as_a_busy_script_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made(100, monkeypatch).empty()


def test_it_is_given_up_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(firewall, "PATIENCE_S", 0.05)
    with pytest.raises(NetfilterError) as caught:
        made(10**9, monkeypatch).empty()
    assert caught.value.code == errno.ERESTART
