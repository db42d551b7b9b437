"""What the shell and the daemon say to each other on the Unix socket.

One JSON object in each line, both ways. A request is one of

    {"line": "show session", "mode": "exec", "json": false}
    {"complete": "show se", "mode": "exec"}
    {"help": "show ", "mode": "exec"}
    {"become": "viewer"}
    {"follow": "critical error"}

and is answered by any number of {"text": "…"} and then by one object with "status" ("ok" or
"error"), "code" (0 or 1), "mode" for the next request (null: the shell ends) and "prompt"; a
"section", when there is one, belongs to the next request, too. Beside
them "error" with a sentence, or what was asked for: "words" as [word, help] pairs and, for
"complete", the "start" of the word in the line. In text, every line is complete. An "action" is
what the shell has to do itself: a list of words such as ["terminal", "length", "0"].

"become" gives up the rights of this connection, for good: from then on it is that of an operator
who is not privileged. "follow" sends log lines of these kinds as text, until the connection ends.
"""

import json
from dataclasses import dataclass
from typing import Any, Final

from l2tpns_core.cli.grammar import Mode

MAX_REQUEST_BYTES: Final = 32_768
KINDS: Final = ("line", "complete", "help", "become", "follow")
VIEWER: Final = "viewer"
MODES: Final = {mode.name.lower(): mode for mode in Mode}


class ProtocolError(Exception):
    """Bytes that are no request; the text says why."""


@dataclass(slots=True, frozen=True)
class Request:
    """What a shell asks for: `kind` is one of KINDS, `text` the line (so far)."""

    kind: str
    text: str
    mode: Mode = Mode.EXEC
    json: bool = False
    section: str = ""
    """What the mode is about, as the last answer said."""


def decode_request(data: bytes) -> Request:
    """Read a request. Raises ProtocolError."""
    try:
        members = json.loads(data)
    except (ValueError, RecursionError):
        raise ProtocolError("the request is not JSON") from None
    if not isinstance(members, dict):
        raise ProtocolError("the request is not a JSON object")
    kinds = [kind for kind in KINDS if kind in members]
    if len(kinds) != 1 or not isinstance(members[kinds[0]], str):
        raise ProtocolError(f"the request must have one text of: {', '.join(KINDS)}")
    mode = members.get("mode", "exec")
    section = members.get("section", "")
    if not isinstance(section, str):
        raise ProtocolError("the section must be a text")
    if kinds == ["become"] and members["become"] != VIEWER:
        raise ProtocolError(f"an operator can become: {VIEWER}")
    if not isinstance(mode, str) or mode not in MODES:
        raise ProtocolError(f"the mode must be one of: {', '.join(MODES)}")
    return Request(kinds[0], members[kinds[0]], MODES[mode], members.get("json") is True, section)


def encode_request(request: Request) -> bytes:
    members: dict[str, object] = {request.kind: request.text, "mode": request.mode.name.lower()}
    if request.json:
        members["json"] = True
    if request.section:
        members["section"] = request.section
    return encode_frame(members)


def encode_frame(members: dict[str, Any]) -> bytes:
    """One object as a line."""
    return json.dumps(members).encode() + b"\n"


def decode_frame(data: bytes) -> dict[str, Any]:
    """Read what the daemon sent. Raises ProtocolError."""
    try:
        members = json.loads(data)
    except (ValueError, RecursionError):
        raise ProtocolError("the answer is not JSON") from None
    if not isinstance(members, dict):
        raise ProtocolError("the answer is not a JSON object")
    return members
