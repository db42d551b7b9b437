"""Cisco-AVPair values split into the pairs that plugins get (manual, "Plugins").

One attribute may hold several pairs: `intercept=yes,throttle=yes`. A comma separates pairs only
where `key=` follows it, so a list as a value stays whole, as do quoted values and the commands of
`lcp:interface-config`, which are not ours to cut.
"""

import re
from typing import Final

WHOLE_PREFIX: Final = "lcp:interface-config"
QUOTES: Final = "\"'"

_KEY = re.compile(r"[\s,]*([^\s=,\"']+)\s*=\s*")
_SEPARATOR = re.compile(r",(?=\s*[^\s=,\"']+\s*=)")


def split_avpair(text: str) -> list[tuple[str, str]]:
    """Pairs of key and value, in order; text without a `=` is a key with an empty value."""
    pairs: list[tuple[str, str]] = []
    at = 0
    while at < len(text):
        match = _KEY.match(text, at)
        if match is None:
            key = text[at:].strip().strip(",").strip()
            return [*pairs, (key, "")] if key else pairs
        key = match[1]
        if key.lower().startswith(WHOLE_PREFIX):
            return [*pairs, (key, _unquoted(text[match.end() :].strip()))]
        value, at = _take_value(text, match.end())
        pairs.append((key, value))
    return pairs


def _take_value(text: str, at: int) -> tuple[str, int]:
    """The value that starts at `at`, and where the next pair starts."""
    if text[at : at + 1] and text[at] in QUOTES:
        closing = text.find(text[at], at + 1)
        rest = text[closing + 1 :].lstrip() if closing >= 0 else "?"
        if not rest or rest[0] == ",":
            return text[at + 1 : closing], len(text) - len(rest) + 1
    separator = _SEPARATOR.search(text, at)
    end = separator.start() if separator else len(text)
    return text[at:end].strip().rstrip(",").rstrip(), end + 1


def _unquoted(value: str) -> str:
    """The value without the pair of quotes around it, if there is one."""
    if len(value) >= 2 and value[0] in QUOTES and value[-1] == value[0]:
        return value[1:-1]
    return value
