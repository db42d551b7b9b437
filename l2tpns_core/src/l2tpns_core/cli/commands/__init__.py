"""The commands, one module for each thing they are about."""

from l2tpns_core.cli.commands import (
    access_lists,
    addresses,
    configuration,
    dataplane,
    histogram,
    neighbours,
    operator,
    plugins,
    process,
    radius,
    sessions,
    shell,
    snoop,
    status,
    throttle,
    top,
    tunnels,
    why,
)
from l2tpns_core.cli.grammar import Grammar


def build_grammar() -> Grammar:
    """The tree of all commands of this release."""
    modules = (
        shell,
        operator,
        addresses,
        radius,
        configuration,
        plugins,
        sessions,
        throttle,
        access_lists,
        snoop,
        tunnels,
        why,
        top,
        neighbours,
        dataplane,
        histogram,
        status,
        process,
    )
    return Grammar(module.COMMANDS for module in modules)
