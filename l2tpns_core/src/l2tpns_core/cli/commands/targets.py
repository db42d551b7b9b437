"""The sessions that an operator means by the USER of a command."""

from collections.abc import Iterator, Sequence

from l2tpns_core.cli.context import LnsView
from l2tpns_core.cli.errors import CommandError
from l2tpns_core.observe.text import printable
from l2tpns_core.session import Session

USER_HELP = "User name; or session ID, or TID/SID, when no user has that name"


def sessions_meant(lns: LnsView, text: str) -> list[Session]:
    """The sessions of a user, or the one of an id (`5`, `3/5`) when no user has that name; not
    those that are about to end. Raises CommandError."""
    found = lns.sessions_of_user(text)
    if not found:
        try:
            found = [lns.find_session(text)]
        except LookupError:
            pass
    found = [session for session in found if not session.is_going]
    if not found:
        raise CommandError(f"User {printable(text)} is not connected")
    return found


def name_of(sessions: Sequence[Session], text: str) -> str:
    """What to call them in an answer: the user, whatever the operator named him by."""
    return printable(sessions[0].user or text)


def live(lns: LnsView) -> Iterator[Session]:
    """The sessions of this moment, without those that end while the list is being sent."""
    for session in list(lns.sessions.values()):
        if lns.sessions.get(session.key) is session:
            yield session
