"""The commands, one module for each thing they are about."""

from l2tpns_core.cli.commands import (
    access_lists,
    addresses,
    cluster,
    configuration,
    dataplane,
    histogram,
    operator,
    plugins,
    process,
    radius,
    routing,
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
        routing,
        configuration,
        plugins,
        sessions,
        throttle,
        access_lists,
        snoop,
        tunnels,
        why,
        top,
        cluster,
        dataplane,
        histogram,
        status,
        process,
    )
    return Grammar(module.COMMANDS for module in modules)
