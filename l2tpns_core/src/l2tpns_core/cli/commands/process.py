"""Commands about the daemon's process: `shutdown` and `reload` do what the signals do (manual,
"Signals")."""

import logging
import os
import signal

from l2tpns_core.cli.answer import Answer, Message
from l2tpns_core.cli.grammar import Call, CommandSet

log = logging.getLogger("l2tpns.cli")

COMMANDS = CommandSet()


@COMMANDS.command("shutdown", "Shutdown l2tpns daemon and exit", privileged=True, whole=True)
def shutdown(call: Call) -> Answer:
    log.warning("shutdown by an operator")
    _signal_daemon(signal.SIGQUIT)
    return Message(["Shutting down: all sessions are disconnected"])


@COMMANDS.command("reload", "Reload configuration", privileged=True, whole=True)
def reload(call: Call) -> Answer:
    log.warning("reload by an operator")
    _signal_daemon(signal.SIGHUP)
    return Message(["Reloading the configuration; the log tells what could not be used"])


def _signal_daemon(number: signal.Signals) -> None:
    """The daemon's handler runs when this command is done."""
    os.kill(os.getpid(), number)
