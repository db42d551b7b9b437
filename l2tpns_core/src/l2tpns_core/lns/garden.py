"""A session that is in the walled garden is no customer of anybody: no accounting, not found by its
user, no duplicate of another. This is what changes when a session that is up enters or leaves it.
"""

import logging
from typing import TYPE_CHECKING

from l2tpns_core.dataplane.plane import SessionCounters
from l2tpns_core.life import Step
from l2tpns_core.session import Ending, Session, TerminateCause

if TYPE_CHECKING:
    from l2tpns_core.lns.server import Lns

log = logging.getLogger("l2tpns.session")

DUPLICATE = Ending(
    "Duplicate session when user released from walled garden", TerminateCause.ADMIN_RESET
)


def counted(session: Session, usage: SessionCounters) -> SessionCounters:
    """The traffic of a session that is its user's."""
    octets_in, octets_out, packets_in, packets_out = session.counted_before
    return usage._replace(
        octets_in=usage.octets_in - octets_in,
        octets_out=usage.octets_out - octets_out,
        packets_in=usage.packets_in - packets_in,
        packets_out=usage.packets_out - packets_out,
    )


def set_garden(lns: "Lns", session: Session, trapped: bool, user: str | None = None) -> None:
    """Change a session's walled_garden flag with all that follows from it.

    Entering ends the accounting of a session (Stop, with what it has used so far). Leaving makes it
    a normal one: named `user` if that is given, counters from zero, other sessions of the user
    ended as at a login, a fresh Start. Nothing happens when the flag is as wanted, or the session
    has ended.
    """
    if session.walled_garden == trapped or lns.sessions.get(session.key) is not session:
        return
    if not session.is_admitted or (session.is_going and not trapped):
        # Nobody knows of it yet, or it gets no new life and nobody gives way to it.
        session.walled_garden = bool(trapped)
        return
    now = lns.clock()
    if trapped:
        _enter(lns, session)
    else:
        _leave(lns, session, user, now)
    if not session.is_going:  # a plugin may have ended it meanwhile
        lns.install(session)
        lns.settle(session, now)


def _enter(lns: "Lns", session: Session) -> None:
    lns.usage_report.leave(session, lns.usage(session))
    session.walled_garden = True
    lns.lives.note(session, Step.GARDEN, "enters")
    lns.accounting.stop(session, lns.usage(session))
    session.next_interim_at = 0.0
    lns.tables.forget_user(session)
    log.info("enters the walled garden", extra=session.log_ids())


def _leave(lns: "Lns", session: Session, user: str | None, now: float) -> None:
    lns.tables.forget_user(session)
    session.user = user or session.user
    _end_duplicates(lns, session, now)
    session.walled_garden = False
    if session.is_going:
        return
    lns.lives.note(session, Step.GARDEN, "leaves")
    session.counted_before = lns.plane.counters(session.key)[:4]
    lns.tables.index_login(session)
    if session.network_up_at:
        _account_anew(lns, session, now)
    log.info("leaves the walled garden", extra=session.log_ids())


def _end_duplicates(lns: "Lns", session: Session, now: float) -> None:
    if lns.config.allow_duplicate_users or session.user.casefold() in lns.settings.guests:
        return
    for other in lns.tables.of_user(session.user):
        if other is not session:
            lns.counters.duplicate_ended += 1
            lns.end_now(other, DUPLICATE, now)


def _account_anew(lns: "Lns", session: Session, now: float) -> None:
    """Send the Start of what is a new session to accounting: where it had a Start and a Stop
    before, under a new Acct-Session-Id."""
    if session.start_sent_at:
        session.unique = lns.next_unique()
    lns.accounting.start(session)
    if session.accounting_started:
        lns.lives.note(session, Step.ACCOUNTING, "Start")
    session.next_interim_at = lns.accounting.next_interim(session, now)
