"""Commands about throttling (manual, "throttle", "Throttling"). Rates are kbit/s; "in" is what the
subscriber sends."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from l2tpns_core.cli.answer import Answer, Listing, Message
from l2tpns_core.cli.commands.live import live_users
from l2tpns_core.cli.commands.targets import USER_HELP, live, name_of, sessions_meant
from l2tpns_core.cli.context import LnsView
from l2tpns_core.cli.errors import CommandError
from l2tpns_core.cli.grammar import Argument, Call, Choice, CommandSet
from l2tpns_core.config.errors import shown
from l2tpns_core.observe.text import token
from l2tpns_core.session import Session

COMMANDS = CommandSet()
KEEP = -1
MAX_RATE = 10_000_000
DIRECTIONS = ("in", "out")
RATE_HELP = "Kilobits a second both ways (throttle_speed when left out)"
HEADER = (
    f"{'SID':>5} {'TID':>5} {'Username':<32} {'Rate In':>8} {'Out':>8} "
    f"{'Queue In':>8} {'Out':>6} {'Drop In':>9} {'Out':>9}"
)


class Rates(NamedTuple):
    """What to set, KEEP for what is to stay."""

    rate_in: int
    rate_out: int


def _rate_words(given: Sequence[str]) -> Iterator[Choice]:
    """What may follow the user: one rate, or a direction before each."""
    words = given[1:]
    if len(words) % 2:
        if words[-1] and not words[-1].isdigit():
            yield Choice("<rate>", "Kilobits a second")
        return
    if not words:
        yield Choice("<rate>", RATE_HELP)
    if len(words) < 2 * len(DIRECTIONS):
        yield Choice("in", "What the subscriber sends")
        yield Choice("out", "What the subscriber receives")


@COMMANDS.command(
    "throttle",
    "Enable throttling of a session (RATE, or in RATE and out RATE, in kbit/s)",
    Argument("user", USER_HELP, missing="Specify a user to throttle", live=live_users),
    Argument("rate", RATE_HELP, optional=True, repeated=True, values=_rate_words),
    privileged=True,
    at_master=True,
)
def throttle(call: Call) -> Answer:
    lns = call.context.lns
    user, *words = call.arguments
    sessions = sessions_meant(lns, user)
    rates = _rates(words, call.context.config.throttle_speed)
    name = name_of(sessions, user)
    changes = [session for session in sessions if _changes(session, rates)]
    if not changes:
        raise CommandError(f"User {name} already throttled at this rate")
    if any(_is_throttled_there(session, rates) for session in changes):
        raise CommandError(f"User {name} already throttled, unthrottle first")
    for session in changes:
        lns.throttle(session, *rates)
    return Message([f"Throttling user {name}"])


@COMMANDS.command(
    "no throttle",
    "Disable throttling of a session",
    Argument(
        "user", USER_HELP, repeated=True, missing="Specify a user to unthrottle", live=live_users
    ),
    privileged=True,
    at_master=True,
)
def no_throttle(call: Call) -> Answer:
    lns, message = call.context.lns, Message()
    for user in call.arguments:
        try:
            sessions = sessions_meant(lns, user)
            throttled = [each for each in sessions if each.throttle_in or each.throttle_out]
            if not throttled:
                raise CommandError(f"User {name_of(sessions, user)} not throttled")
        except CommandError as error:
            message.fail(str(error))
            continue
        for session in throttled:
            lns.throttle(session, 0, 0)
        message.lines.append(f"Unthrottling user {name_of(sessions, user)}")
    return message


@COMMANDS.command(
    "show throttle", "List all throttled sessions and what waits for their turn", at_master=True
)
def show_throttle(call: Call) -> Answer:
    lns = call.context.lns
    return Listing(
        rows=(each if each.throttle_in or each.throttle_out else None for each in live(lns)),
        line=lambda session: _line(session, lns),
        data=lambda session: _data(session, lns),
        header=HEADER,
    )


def _rates(words: list[str], default: int) -> Rates:
    """None given, one for both directions, or each behind its direction. Raises CommandError."""
    if not words:
        if not default:
            raise CommandError("throttle_speed is 0: set it, or name a rate")
        return Rates(default, default)
    if len(words) == 1:
        rate = _number(words[0])
        if not rate:
            raise CommandError(f"Invalid rate {shown(words[0])}")
        return Rates(rate, rate)
    if len(words) not in (2, 4):
        raise CommandError("Invalid arguments")
    rates = dict.fromkeys(DIRECTIONS, KEEP)
    for word, digits in zip(words[::2], words[1::2], strict=True):
        direction = next((each for each in DIRECTIONS if each.startswith(word.lower())), "")
        rate = _number(digits)
        if not word or not rate or rates.get(direction) != KEEP:
            raise CommandError(f"Invalid rate specification {shown(f'{word} {digits}')}")
        rates[direction] = rate
    return Rates(rates["in"], rates["out"])


def _number(digits: str) -> int:
    """A rate, 0 for what is none."""
    is_number = digits.isascii() and digits.isdigit() and len(digits) <= len(str(MAX_RATE))
    rate = int(digits) if is_number else 0
    return rate if rate <= MAX_RATE else 0


def _changes(session: Session, rates: Rates) -> bool:
    return rates.rate_in not in (KEEP, session.throttle_in) or rates.rate_out not in (
        KEEP,
        session.throttle_out,
    )


def _is_throttled_there(session: Session, rates: Rates) -> bool:
    """Whether a direction that is to get a rate has another already."""
    return (rates.rate_in != KEEP and session.throttle_in not in (0, rates.rate_in)) or (
        rates.rate_out != KEEP and session.throttle_out not in (0, rates.rate_out)
    )


def _line(session: Session, lns: LnsView) -> str:
    state = _state(session, lns)
    return (
        f"{session.session_id:>5} {session.tunnel_id:>5} {token(session.user) or '*':<32} "
        f"{session.throttle_in:>8} {session.throttle_out:>8} "
        f"{state['queued_in']:>8} {state['queued_out']:>6} "
        f"{state['dropped_in']:>9} {state['dropped_out']:>9}"
    )


def _data(session: Session, lns: LnsView) -> Mapping[str, object]:
    return {
        "session_id": session.session_id,
        "tunnel_id": session.tunnel_id,
        "user": session.user,
        "throttle_in_kbps": session.throttle_in,
        "throttle_out_kbps": session.throttle_out,
        **_state(session, lns),
    }


def _state(session: Session, lns: LnsView) -> Mapping[str, int]:
    """In packets; zeros while the plane has no buckets for the session, as before it is up."""
    state = lns.throttle_state(session)
    return {
        "queued_in": state.queued_in if state is not None else 0,
        "queued_out": state.queued_out if state is not None else 0,
        "dropped_in": state.dropped_in if state is not None else 0,
        "dropped_out": state.dropped_out if state is not None else 0,
    }
