"""Fuzz entry for what operators and files say: startup-config, ip_pool, command lines, requests.

`one_input` returns when nothing is wrong and raises otherwise, so that any fuzzer can drive it: a
line may make its decoder raise the error declared for it and nothing else, and a whole file nothing
at all.
"""

import contextlib

from l2tpns_core.cli.commands import build_grammar
from l2tpns_core.cli.errors import CommandError
from l2tpns_core.cli.filters import make_filters
from l2tpns_core.cli.grammar import Access, Mode
from l2tpns_core.cli.protocol import ProtocolError, decode_frame, decode_request
from l2tpns_core.cli.words import split_line
from l2tpns_core.config.directives import DIRECTIVES, parse_value
from l2tpns_core.config.errors import ConfigError
from l2tpns_core.config.pool import parse_pool, parse_pool_line
from l2tpns_core.config.startup_config import parse, parse_line, render

GRAMMAR = build_grammar()
ACCESSES = [Access(mode, privileged) for mode in Mode for privileged in (True, False)]


def one_input(data: bytes) -> None:
    """Try one input everywhere."""
    _files(data)
    _lines(data)
    text = data.decode("utf-8", "surrogateescape")
    _values(text)
    _commands(text)


def _files(data: bytes) -> None:
    result = parse(data, "startup-config")
    assert all(str(problem).isprintable() for problem in result.problems)
    again = parse(render(result.config, result.plugins).encode(), "again")
    assert (again.config, again.plugins) == (result.config, result.plugins)
    for name, listed in result.access_lists.items():
        lines = [f"ip access-list {listed.kind.value} {name}", *map(str, listed.rules)]
        copy = parse("\n".join(lines).encode(), "again")
        assert copy.access_lists == {name: listed}
    pool = parse_pool(data, "ip_pool")
    assert all(str(problem).isprintable() for problem in pool.problems)


def _lines(data: bytes) -> None:
    with contextlib.suppress(ConfigError):
        parse_line(data)
    with contextlib.suppress(ConfigError):
        parse_pool_line(data)
    for decode in (decode_request, decode_frame):
        with contextlib.suppress(ProtocolError):
            decode(data)


def _values(text: str) -> None:
    for entry in DIRECTIVES.values():
        with contextlib.suppress(ConfigError):
            value = parse_value(entry, text)
            assert type(value) is type(entry.default)
            str(value).encode()


def _commands(text: str) -> None:
    for access in ACCESSES:
        start, choices = GRAMMAR.complete(text, access)
        assert all(choice.word.lower().startswith(text[start:].lower()) for choice in choices)
        GRAMMAR.help(text, access)
        with contextlib.suppress(CommandError):
            words, specifications = split_line(text)
            make_filters(specifications)
            GRAMMAR.match(words, access)
