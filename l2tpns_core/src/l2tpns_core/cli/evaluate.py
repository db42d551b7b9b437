"""A command line in, lines out: everything of the interface but its socket."""

import json
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from l2tpns_core.cli.answer import (
    Answer,
    Deferred,
    Message,
    ModeChange,
    Relayed,
    ShellAction,
)
from l2tpns_core.cli.context import ClusterView, CommandContext
from l2tpns_core.cli.errors import CommandError
from l2tpns_core.cli.filters import filtered, make_filters
from l2tpns_core.cli.grammar import Access, Call, Grammar, Mode
from l2tpns_core.cli.words import split_line
from l2tpns_core.config.quoting import quote

log = logging.getLogger("l2tpns.cli")

INTERNAL_ERROR: Final = "The command failed; the log says why"
PLAIN_WORD: Final = re.compile(r"[\w./:@<>-]+")
UNPRINTABLE: Final = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""What no line may contain, whatever made it: it could move the cursor or end the line."""


@dataclass(slots=True)
class Evaluation:
    """A command that was begun. Pull `lines` to the end; only then are `error` and `mode` final."""

    lines: Iterator[str | None]
    """The output, without line ends; None where a filter left a line out."""
    mode: Mode | None
    """For the next command; None when the shell is to end."""
    section: str = ""
    """What that mode is about."""
    error: str = ""
    """Why the command failed."""
    action: list[str] = field(default_factory=list)
    """What the shell has to do itself (ShellAction)."""
    wait: Callable[[], None] | None = None
    """To be called before `lines` are pulled, in a thread of its own (Deferred)."""


def prompt(hostname: str, access: Access) -> str:
    """The prompt of the original: `lns> `, for privileged operators `lns# `, `lns(config)# `."""
    if access.mode.value:
        return f"{hostname}({access.mode.value})# "
    return f"{hostname}# " if access.privileged else f"{hostname}> "


def evaluate(
    line: str, context: CommandContext, grammar: Grammar, access: Access, *, as_json: bool = False
) -> Evaluation:
    """Begin a command. Never raises; what goes wrong is in the result."""
    result = Evaluation(iter(()), access.mode, access.section)
    try:
        words, specifications = split_line(line)
        if not words and not specifications:
            return result
        if specifications and as_json:
            raise CommandError("Output filters are for text, not for JSON")
        filters = make_filters(specifications)
        command, arguments = grammar.match(words, access)
        if command.at_master and context.cluster is not None and not context.cluster.decides:
            answer = at_master(context.cluster, words, access, as_json=as_json)
        else:
            answer = command.action(Call(context, arguments, access, grammar))
    except CommandError as error:
        result.error = str(error)
        result.lines = _error_lines(result.error, as_json=as_json)
        return result
    except Exception:
        log.exception("a command of the operator failed")
        result.error = INTERNAL_ERROR
        result.lines = _error_lines(result.error, as_json=as_json)
        return result
    if isinstance(answer, ModeChange):
        result.mode, result.section = answer.mode, answer.section
    if isinstance(answer, ShellAction):
        result.action = answer.words
    if isinstance(answer, Deferred | Relayed):
        result.wait = answer.wait
    if isinstance(answer, Message):
        result.error = answer.failed
    lines = answer.json() if as_json else map(_safe, answer.text())
    result.lines = _guarded(filtered(lines, filters), result)
    return result


def at_master(
    cluster: ClusterView, words: Sequence[str], access: Access, *, as_json: bool
) -> Answer:
    """Have a command carried out by the master of the cluster. Raises CommandError."""
    line = " ".join(word if PLAIN_WORD.fullmatch(word) else quote(word) for word in words)
    try:
        return Relayed(cluster.asking(line, privileged=access.privileged, as_json=as_json))
    except LookupError as error:
        raise CommandError(str(error)) from None


def _guarded(lines: Iterator[str | None], result: Evaluation) -> Iterator[str | None]:
    """A failure in the middle of a listing ends the listing, not the daemon."""
    try:
        yield from lines
    except CommandError as error:
        result.error = str(error)
    except Exception:
        log.exception("a command of the operator failed")
        result.error = INTERNAL_ERROR


def _error_lines(text: str, *, as_json: bool) -> Iterator[str]:
    return iter((json.dumps({"error": text}),) if as_json else ())


def _safe(line: str | None) -> str | None:
    if line is not None and UNPRINTABLE.search(line):
        return UNPRINTABLE.sub(lambda match: f"\\x{ord(match[0]):02x}", line)
    return line
