"""Commands about interception (manual, "snoop", "Interception"). Only privileged operators have
them, and nothing is logged about them."""

from ipaddress import AddressValueError, IPv4Address

from l2tpns_core.cli.answer import Answer, Message
from l2tpns_core.cli.commands.live import live_users
from l2tpns_core.cli.commands.targets import USER_HELP, name_of, sessions_meant
from l2tpns_core.cli.errors import CommandError
from l2tpns_core.cli.grammar import Argument, Call, CommandSet
from l2tpns_core.config.directives import Config
from l2tpns_core.config.errors import shown

COMMANDS = CommandSet()
SPECIFY = "Specify username, ip and port"
BROADCAST = IPv4Address("255.255.255.255")
MAX_PORT = 65_535


@COMMANDS.command(
    "snoop",
    "Enable interception of a session",
    Argument("user", USER_HELP, missing=SPECIFY, live=live_users),
    Argument("ip", "Where the copies go (snoop_host when left out)", optional=True),
    Argument("port", "UDP port there (snoop_port when left out)", optional=True),
    privileged=True,
    at_master=True,
)
def snoop(call: Call) -> Answer:
    lns = call.context.lns
    user, *target = call.arguments
    sessions = sessions_meant(lns, user)
    ip, port = _target(target, call.context.config)
    for session in sessions:
        lns.snoop(session, int(ip), port)
    return Message([f"Snooping user {name_of(sessions, user)} to {ip}:{port}"])


@COMMANDS.command(
    "no snoop",
    "Disable interception of a session",
    Argument(
        "user", USER_HELP, repeated=True, missing="Specify a user to unsnoop", live=live_users
    ),
    privileged=True,
    at_master=True,
)
def no_snoop(call: Call) -> Answer:
    lns, message = call.context.lns, Message()
    for user in call.arguments:
        try:
            sessions = sessions_meant(lns, user)
        except CommandError as error:
            message.fail(str(error))
            continue
        for session in sessions:
            lns.snoop(session, 0, 0)
        message.lines.append(f"Not snooping user {name_of(sessions, user)}")
    return message


def _target(words: list[str], config: Config) -> tuple[IPv4Address, int]:
    """Where the copies go: as given, else as configured. Raises CommandError."""
    ip, port = config.snoop_host, config.snoop_port
    if words:
        try:
            ip = IPv4Address(words[0])
        except AddressValueError:
            raise CommandError(f"Cannot parse IP {shown(words[0])}") from None
        if not int(ip) or ip == BROADCAST:
            raise CommandError(f"Cannot parse IP {shown(words[0])}")
    if len(words) > 1:
        digits = words[1]
        is_number = digits.isascii() and digits.isdigit() and len(digits) <= len(str(MAX_PORT))
        port = int(digits) if is_number else 0
        if not 0 < port <= MAX_PORT:
            raise CommandError(f"Invalid port {shown(digits)[1:-1]}")
    if not int(ip) or not port:
        raise CommandError(SPECIFY)
    return ip, port
