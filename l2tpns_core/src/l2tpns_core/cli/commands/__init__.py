"""The commands, one module for each thing they are about."""

from l2tpns_core.cli.commands import (
    access_lists,
    addresses,
    configuration,
    dataplane,
    plugins,
    radius,
    sessions,
    shell,
    snoop,
    status,
    throttle,
    tunnels,
)
from l2tpns_core.cli.grammar import Grammar


def build_grammar() -> Grammar:
    """The tree of all commands of this release."""
    modules = (
        shell,
        addresses,
        radius,
        configuration,
        plugins,
        sessions,
        throttle,
        access_lists,
        snoop,
        tunnels,
        dataplane,
        status,
    )
    return Grammar(module.COMMANDS for module in modules)
