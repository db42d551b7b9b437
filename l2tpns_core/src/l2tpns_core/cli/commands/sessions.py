"""Commands about sessions and users (manual, "show session", "show users", "drop session")."""

from collections.abc import Iterable

from l2tpns_core.cli.answer import Answer, Listing, Message
from l2tpns_core.cli.commands.live import live_sessions, live_users
from l2tpns_core.cli.commands.session_view import HEADER, SessionView
from l2tpns_core.cli.commands.targets import live
from l2tpns_core.cli.context import LnsView
from l2tpns_core.cli.errors import CommandError
from l2tpns_core.cli.grammar import Access, Argument, Call, CommandSet
from l2tpns_core.config.errors import shown
from l2tpns_core.observe.text import printable
from l2tpns_core.session import Session

COMMANDS = CommandSet()
DROP_REASON = "dropped by the operator"
SESSION_ID_HELP = "Session ID, or TID/SID"


@COMMANDS.command(
    "show session",
    "Show a list of sessions or details for a single session",
    Argument("ID", SESSION_ID_HELP, optional=True, repeated=True, live=live_sessions),
    at_master=True,
)
def show_session(call: Call) -> Answer:
    return _show_session(call)


@COMMANDS.command(
    "show sessions",
    "Show a list of sessions or details for a single session",
    Argument("ID", SESSION_ID_HELP, optional=True, repeated=True, live=live_sessions),
    hidden=True,
    at_master=True,
)
def show_sessions(call: Call) -> Answer:
    return _show_session(call)


@COMMANDS.command(
    "show users",
    "Show a list of all connected users or details of selected user",
    Argument("user", "User name", optional=True, repeated=True, live=live_users),
    at_master=True,
)
def show_users(call: Call) -> Answer:
    lns = call.context.lns
    if call.arguments:
        found = [session for user in call.arguments for session in _sessions_of(lns, user)]
        return _details(lns, found, call.access)
    return Listing(
        rows=(session if session.user else None for session in live(lns)),
        line=lambda session: printable(session.user),
        data=lambda session: {
            "user": session.user,
            "tunnel_id": session.tunnel_id,
            "session_id": session.session_id,
        },
    )


@COMMANDS.command(
    "drop user",
    "Disconnect a user",
    Argument("user", "User name", repeated=True, missing="Specify a user to drop", live=live_users),
    privileged=True,
    at_master=True,
)
def drop_user(call: Call) -> Answer:
    message = Message()
    for user in call.arguments:
        sessions = call.context.lns.sessions_of_user(user)
        if not sessions:
            message.fail(f"User {printable(user)} is not connected")
            continue
        message.lines.append(f"Dropping user {printable(user)}")
        for session in sessions:
            call.context.lns.drop_session(session, DROP_REASON)
    return message


@COMMANDS.command(
    "drop session",
    "Disconnect a session",
    Argument(
        "ID",
        SESSION_ID_HELP,
        repeated=True,
        missing="Specify a session id to drop",
        live=live_sessions,
    ),
    privileged=True,
    at_master=True,
)
def drop_session(call: Call) -> Answer:
    message = Message()
    for text in call.arguments:
        try:
            session = _find(call.context.lns, text)
        except CommandError as error:
            message.fail(str(error))
            continue
        message.lines.append(f"Dropping session {session.session_id}")
        call.context.lns.drop_session(session, DROP_REASON)
    return message


def _show_session(call: Call) -> Answer:
    lns, access = call.context.lns, call.access
    if call.arguments:
        return _details(lns, [_find(lns, text) for text in call.arguments], access)
    return Listing(
        rows=live(lns),
        line=lambda session: SessionView(session, lns, access).line(),
        data=lambda session: SessionView(session, lns, access).data(),
        header=HEADER,
    )


def _details(lns: LnsView, sessions: Iterable[Session], access: Access) -> Answer:
    return Listing(
        rows=sessions,
        line=lambda session: SessionView(session, lns, access).details(),
        data=lambda session: SessionView(session, lns, access).data(),
    )


def _sessions_of(lns: LnsView, user: str) -> list[Session]:
    """The sessions of a user; those in the walled garden are in no index. Raises CommandError."""
    found = lns.sessions_of_user(user) or [
        session for session in lns.sessions.values() if session.user == user
    ]
    if not found:
        raise CommandError(f"User {printable(user)} is not connected")
    return found


def _find(lns: LnsView, text: str) -> Session:
    try:
        return lns.find_session(text)
    except LookupError as error:
        raise CommandError(printable(str(error.args[0])) if error.args else shown(text)) from None
