"""What ExaBGP says: acknowledgements of commands, and the state of sessions."""

import json
from dataclasses import dataclass
from typing import Final

from l2tpns_core.observe.text import printable

MAX_LINE: Final = 1 << 20
MAX_REASON: Final = 200
ACKNOWLEDGED: Final = "done"
REFUSED: Final = "error"


@dataclass(slots=True, frozen=True)
class PeerState:
    """A session has come to another state."""

    peer: str
    state: str
    """`connected`, `up` or `down`."""
    reason: str = ""


@dataclass(slots=True, frozen=True)
class Acknowledged:
    """The oldest command that was not acknowledged yet is."""

    ok: bool
    text: str = ""


Said = PeerState | Acknowledged


def understood(line: bytes) -> Said | None:
    """What a line means; None for what is of no interest. Never raises."""
    text = line.decode(errors="replace").strip()
    if text in (ACKNOWLEDGED, REFUSED, "shutdown"):
        return Acknowledged(text == ACKNOWLEDGED, text)
    if not text.startswith("{"):
        return Acknowledged(False, text[:200]) if text.startswith("error") else None
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return None
    match said:
        case {"type": "state", "neighbor": {"address": {"peer": str(peer)}, "state": str(state)}}:
            reason = said["neighbor"].get("reason", "")
            return PeerState(peer, state, printable(str(reason)[:MAX_REASON]))
        case {"status": str(status)}:
            return Acknowledged(status in ("ok", ACKNOWLEDGED), str(said.get("message", ""))[:200])
        case {"error": str(message)}:
            return Acknowledged(False, message[:200])
    return None
