"""The reference page of all directives, as Markdown (docs/reference/directives.md)."""

from collections.abc import Iterator
from typing import Final

from l2tpns_core.config.directive import Kind
from l2tpns_core.config.directives import DIRECTIVES, ActsAt, Directive, format_value

SECTIONS: Final = {
    "debug": "Logging and process",
    "l2tp_secret": "L2TP",
    "primary_dns": "PPP",
    "primary_radius": "RADIUS",
    "allow_duplicate_users": "Sessions",
    "bind_address": "Network and forwarding",
    "cli_bind_address": "Remote control",
    "metrics_bind_address": "Metrics",
    "cluster_address": "Cluster and routing",
}
"""The headings, by the directive that comes first under each."""

INTRODUCTION: Final = """\
# Directives

Every directive of `startup-config`, set by a line like

    set l2tp_mtu 1460
    set log_file "syslog:local5"

or by the same command in configuration mode. A value with blanks, `#` or quotes is put in double or
single quotes. A boolean is `yes` or `no`; `true`, `false`, `on`, `off`, `1` and `0` are understood
too. A line that cannot be used is reported with its number and skipped; the directive keeps its
default. On SIGHUP the file is read again, and a directive whose line is gone returns to its
default.

A changed value acts at once where nothing else is said; sessions and tunnels that are up keep what
they agreed on.

This page is generated from the table in `l2tpns_core/config/directives.py`.
"""


def directives_page() -> str:
    """The whole page."""
    return "\n".join([INTRODUCTION, *_body()])


def _body() -> Iterator[str]:
    for name, entry in DIRECTIVES.items():
        if name in SECTIONS:
            yield f"## {SECTIONS[name]}\n"
        yield f"### {name}\n"
        yield f"{entry.help}\n"
        yield f"*{'; '.join(_facts(entry))}*\n"


def _facts(entry: Directive) -> Iterator[str]:
    kind = entry.kind.value
    if entry.kind is Kind.CHOICE:
        kind = " | ".join(entry.choices)
    elif entry.limits is not None:
        kind += f" from {entry.limits[0]} to {entry.limits[1]}"
    yield kind + (f", in {entry.unit}" if entry.unit else "")
    yield f"default `{format_value(entry, entry.default)}`"
    if entry.acts_at is not ActsAt.NOW:
        yield f"acts {entry.acts_at.value}"
    if entry.secret:
        yield "secret"
    if not entry.acts:
        yield "accepted, but without effect in this release"


if __name__ == "__main__":
    print(directives_page(), end="")
