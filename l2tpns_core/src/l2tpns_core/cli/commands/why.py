"""`why USER|SESSION`: the recorded life of a session, in plain words."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from l2tpns_core.cli.answer import Answer, Listing
from l2tpns_core.cli.commands.live import live_users
from l2tpns_core.cli.context import LnsView
from l2tpns_core.cli.errors import CommandError
from l2tpns_core.cli.grammar import Argument, Call, CommandSet
from l2tpns_core.life import Happening, Life, PastLife, Step
from l2tpns_core.observe.text import printable
from l2tpns_core.session import Session, SessionState

COMMANDS = CommandSet()
MAX_LIVES: Final = 5
"""Lives that are told at most, the newest last."""
MAX_ID_DIGITS: Final = 5
MBIT: Final = 1_000_000
PROTOCOLS: Final = {"PAP": "PAP", "CHAP_MD5": "CHAP", "MSCHAP_V2": "MS-CHAPv2"}
SOURCES: Final = {
    "pool": "from the pool",
    "radius": "from RADIUS",
    "client": "as the client asked",
}


@dataclass(slots=True, frozen=True)
class Told:
    """One life, live or past."""

    user: str
    tunnel_id: int
    session_id: int
    accounting_id: str
    life: Life
    is_live: bool


@COMMANDS.command(
    "why",
    "Tell what happened to a user or a session, with times",
    Argument(
        "user",
        "User name; or session ID, or TID/SID",
        missing="Specify a user or a session",
        live=live_users,
    ),
    at_master=True,
)
def why(call: Call) -> Answer:
    (text,) = call.arguments
    found = list(_found(call.context.lns, text))
    if not found:
        raise CommandError(f"Nothing is recorded of {printable(text)}")
    return Listing(rows=found, line=_lines, data=_data)


def _found(lns: LnsView, text: str) -> Iterator[Told]:
    """The lives of a user, or of a session id when no user has that name: the oldest first."""
    live = [_of_session(session) for session in lns.sessions_of_user(text)]
    if not live:
        live = [_of_session(session) for session in lns.sessions.values() if _is_of(session, text)]
    past = lns.lives.past_of_user(text)
    if not live:
        session_id, tunnel_id = _ids(text)
        newest = list(islice(past, MAX_LIVES))
        if newest:
            past = iter(newest)
        else:
            past = lns.lives.past_of_id(session_id, tunnel_id)
            try:
                live = [_of_session(lns.find_session(text))]
            except LookupError:
                pass
    room = max(0, MAX_LIVES - len(live))
    yield from (_of_past(one) for one in reversed(list(islice(past, room))))
    yield from live[:MAX_LIVES]


def _is_of(session: Session, user: str) -> bool:
    """Whether a session that is in no index is a user's: in the walled garden, or not logged in."""
    life = session.life
    return session.user == user or (
        session.state is SessionState.LINK and life is not None and life.claimed == user
    )


def _ids(text: str) -> tuple[int, int]:
    """The session and tunnel of `5` or `3/5`; a session of -1 is none."""
    tunnel, slash, session = text.rpartition("/")
    numbers = (session, tunnel if slash else "0")
    if not all(n.isascii() and n.isdigit() and len(n) <= MAX_ID_DIGITS for n in numbers):
        return -1, 0
    return int(numbers[0]), int(numbers[1])


def _of_session(session: Session) -> Told:
    life = session.life or Life()
    user = session.user or life.claimed
    ids = (session.tunnel_id, session.session_id, session.accounting_id)
    return Told(user, *ids, life, is_live=True)


def _of_past(past: PastLife) -> Told:
    ids = (past.tunnel_id, past.session_id, past.accounting_id)
    return Told(past.user, *ids, past.life, is_live=False)


def _lines(told: Told) -> Iterator[str]:
    """Times of day, the time since the step before, and a sentence."""
    user = printable(told.user) or "nobody yet"
    ended = "" if told.is_live else ", ended"
    yield ""
    yield f"Session {told.session_id} of tunnel {told.tunnel_id}, {user}{ended}:"
    before, day = 0.0, ""
    for number, happening in enumerate(told.life):
        today = time.strftime("%Y-%m-%d", time.localtime(happening.at))
        if today != day:
            day = today
            yield f"  {day}"
        clock = time.strftime("%H:%M:%S", time.localtime(happening.at))
        clock += f".{int(happening.at % 1 * 1000):03}"
        gap = _gap(happening.at - before) if number else ""
        before = happening.at
        yield f"  {clock} {gap:>9}  {sentence(happening)}"
    if told.life.left_out:
        yield f"  ({told.life.left_out} steps in the middle were not kept)"
    if told.is_live:
        is_up = any(one.step is Step.ONLINE for one in told.life)
        yield f"  {'':22}  {'Still there.' if is_up else 'Not up yet.'}"


def _data(told: Told) -> dict[str, object]:
    return {
        "user": told.user,
        "tunnel_id": told.tunnel_id,
        "session_id": told.session_id,
        "accounting_id": told.accounting_id,
        "ended": not told.is_live,
        "left_out": told.life.left_out,
        "steps": [
            {
                "time": round(one.at, 6),
                "step": one.step.name.lower(),
                "detail": one.detail,
                "text": sentence(one),
            }
            for one in told.life
        ],
    }


def _gap(seconds: float) -> str:
    """`+40 ms`, `+2.5 s`, `+12 min`, `+3.1 h`."""
    if seconds < 1:
        return f"+{max(0.0, seconds) * 1000:.0f} ms"
    if seconds < 120:
        return f"+{seconds:.1f} s"
    if seconds < 7200:
        return f"+{seconds / 60:.0f} min"
    return f"+{seconds / 3600:.1f} h"


def sentence(happening: Happening) -> str:
    """A step in plain words."""
    detail = printable(happening.detail)
    first, _, rest = detail.partition(" ")
    match happening.step:
        case Step.CALLED:
            caller, _, called = rest.partition(">")
            numbers = (f" of {caller}" if caller else "") + (f" to {called}" if called else "")
            return f"L2TP: the LAC {first} announces a call{numbers}"
        case Step.CONNECTED:
            return f"L2TP: the call is connected{_speeds(first, rest)}"
        case Step.LCP_UP:
            return f"LCP is up, MRU {detail}"
        case Step.LOGIN:
            return f"Login as {rest} by {PROTOCOLS.get(first, first)}, RADIUS is asked"
        case Step.ACCEPTED:
            return f"RADIUS accepts{_quoted(detail)}"
        case Step.REJECTED:
            return f"RADIUS rejects{_quoted(detail)}"
        case Step.NO_ANSWER:
            return "No RADIUS server answers"
        case Step.REFUSED:
            return f"Login refused {detail}"
        case Step.ADDRESS:
            return f"Address {first} {SOURCES.get(rest, rest)}"
        case Step.ONLINE:
            return "IPCP is up, packets are forwarded"
        case Step.OFFLINE:
            return f"IPCP is down: {detail}"
        case Step.RENEGOTIATION:
            return "The client negotiates LCP anew, nothing is forwarded"
        case Step.ACCOUNTING:
            return f"Accounting-{detail} sent"
        case Step.THROTTLED:
            return f"Limits changed: {_limits(first, rest)}"
        case Step.GARDEN:
            return f"The session {detail} the walled garden"
        case Step.CLOSING:
            return f"We end it: {detail}"
        case Step.ENDED:
            return _end(detail)
        case Step.LINE_BAD:
            return f"The line got bad: {first} of the last {rest} LCP echoes were lost"
        case Step.LINE_GOOD:
            return f"The line is good again: {first} of the last {rest} LCP echoes were lost"


def _end(detail: str) -> str:
    octets_in, octets_out, stop, why_text = (detail.split(" ", 3) + [""] * 3)[:4]
    told = ", Accounting-Stop sent" if stop == "Stop" else ""
    return f"Ended: {why_text}; {octets_in} bytes up, {octets_out} down{told}"


def _speeds(tx: str, rx: str) -> str:
    numbers = [int(text) if text.isascii() and text.isdigit() else 0 for text in (tx, rx)]
    names = [
        f"{number / MBIT:g} Mbit/s {way}"
        for number, way in zip(numbers, ("down", "up"), strict=True)
        if number
    ]
    return ", " + ", ".join(names) if names else ""


def _limits(rate_in: str, rate_out: str) -> str:
    if rate_in == rate_out == "0":
        return "none"
    texts = (rate_in if rate_in != "0" else "no limit", rate_out if rate_out != "0" else "no limit")
    return f"{texts[0]} kbit/s up, {texts[1]} kbit/s down".replace("limit kbit/s", "limit")


def _quoted(message: str) -> str:
    return f': "{message}"' if message else ""
