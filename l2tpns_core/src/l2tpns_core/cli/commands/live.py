"""Values of this moment for Tab: users, sessions, tunnels."""

from collections.abc import Iterator
from typing import Final

from l2tpns_core.cli.context import CommandContext
from l2tpns_core.cli.grammar import Choice
from l2tpns_core.observe.text import token

NOT_A_WORD: Final = frozenset("\"'|")


def live_users(context: CommandContext, prefix: str) -> Iterator[Choice]:
    """Users whose name begins with a text; a name that would not survive the terminal is left
    out."""
    start, seen = prefix.casefold(), set()
    for session in list(context.lns.sessions.values()):
        user = session.user
        if user and user.casefold().startswith(start) and user not in seen:
            seen.add(user)
            if token(user) == user and not set(user) & NOT_A_WORD:
                yield Choice(user, f"{session.tunnel_id}/{session.session_id}")


def live_sessions(context: CommandContext, prefix: str) -> Iterator[Choice]:
    """Ids of sessions, as TUNNEL/SESSION when a slash has been typed."""
    with_tunnel = "/" in prefix
    for session in list(context.lns.sessions.values()):
        word = str(session.session_id)
        if with_tunnel:
            word = f"{session.tunnel_id}/{word}"
        if word.startswith(prefix):
            yield Choice(word, token(session.user))


def live_tunnels(context: CommandContext, prefix: str) -> Iterator[Choice]:
    """Ids of tunnels."""
    for tunnel in list(context.lns.endpoint.tunnels.values()):
        word = str(tunnel.local_id)
        if word.startswith(prefix):
            yield Choice(word, token(tunnel.hostname))
