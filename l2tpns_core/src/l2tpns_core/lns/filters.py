"""Which access lists a session's packets pass: by Filter-Id at its login, by the operator later."""

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

from l2tpns_core.access_lists.rules import MAX_NAME_CHARS
from l2tpns_core.session import Session

if TYPE_CHECKING:
    from l2tpns_core.lns.server import Lns

log = logging.getLogger("l2tpns.login")

MAX_SHOWN = MAX_NAME_CHARS + 9


def take_filter_ids(lns: "Lns", session: Session, names: Iterable[str]) -> None:
    """Filter a session as RADIUS says: `NAME.in` for what it sends, `NAME.out` for what it
    receives. What is no such name, or names no list, is logged and changes nothing."""
    for text in names:
        name, _, direction = text.rpartition(".")
        if not name or direction not in ("in", "out"):
            log.warning(
                "Filter-Id %a is neither NAME.in nor NAME.out",
                text[:MAX_SHOWN],
                extra=session.log_ids(),
            )
        elif lns.access_lists.get(name) is None:
            log.warning(
                "Filter-Id %a: access-list not defined", text[:MAX_SHOWN], extra=session.log_ids()
            )
        elif direction == "in":
            session.filter_in = name
        else:
            session.filter_out = name


def is_filtered_by(lns: "Lns", name: str) -> bool:
    """Whether a list is in use. A walk over all sessions, for an operator who removes one."""
    return any(name in (each.filter_in, each.filter_out) for each in lns.sessions.values())
