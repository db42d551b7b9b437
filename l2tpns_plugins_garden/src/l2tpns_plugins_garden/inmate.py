"""Who is trapped and why, and how that outlives the daemon: with the session."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from l2tpns_plugins_garden.rules import Garden, Layout

if TYPE_CHECKING:
    from l2tpns_core.session import Session


@dataclass(slots=True)
class Inmate:
    """A session that is to be trapped, or is."""

    garden: Garden
    was_refused: bool = False
    """It is only let in because it is trapped."""
    was_accepted: bool = False
    """RADIUS let it in before that, and what it said then still holds."""
    ip: int = 0
    """The address that is in the set, 0 before there is one."""


def remember(session: "Session", plugin: str, inmate: Inmate) -> None:
    """Keep with a session what another daemon must know of its inmate."""
    known = {
        "garden": inmate.garden.name,
        "was_refused": inmate.was_refused,
        "was_accepted": inmate.was_accepted,
    }
    session.plugin_data = {**(session.plugin_data or {}), plugin: known}


def recall(session: "Session", plugin: str, layout: Layout) -> Inmate | None:
    """The inmate that another daemon remembered; None when it did not trap the session."""
    match (session.plugin_data or {}).get(plugin):
        case {"garden": str(name), "was_refused": bool(refused), "was_accepted": bool(accepted)}:
            return Inmate(layout.garden(name), refused, accepted, session.ip)
    return None


def forget(session: "Session", plugin: str) -> None:
    """The session is nobody's inmate any more."""
    if session.plugin_data is not None:
        session.plugin_data.pop(plugin, None)
