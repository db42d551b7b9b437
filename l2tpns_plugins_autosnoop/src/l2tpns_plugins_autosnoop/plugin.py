"""The events: who is intercepted comes from RADIUS when a subscriber logs in, and goes back with
the accounting.

What is logged here is at the level of `debug 5` only: who reads the log must not learn of it.
"""

from ipaddress import AddressValueError, IPv4Address
from typing import TYPE_CHECKING, Final

from l2tpns_core.plugins import (
    PLUGIN_API_VERSION,
    ParamRadiusAccount,
    ParamRadiusReset,
    ParamRadiusResponse,
    hookimpl,
)

if TYPE_CHECKING:
    from l2tpns_core.plugins import PluginApi
    from l2tpns_core.session import Session

PAIR: Final = "intercept"
MAX_PORT: Final = 65_535
NOWHERE: Final = (0, 0)
BROADCAST: Final = 0xFFFFFFFF

Target = tuple[int, int]
"""Address and UDP port, NOWHERE for no interception."""


class TargetError(ValueError):
    """What RADIUS asks for cannot be done; the text says why."""


class AutoSnoopPlugin:
    """Has the packets of a subscriber copied to a third party."""

    api_version = PLUGIN_API_VERSION

    def __init__(self, api: "PluginApi") -> None:
        self._api = api

    def plugin_done(self) -> None:
        """End the interceptions that came from here."""
        for session in list(self._api.sessions()):
            self._end(session)

    @hookimpl
    def radius_response(self, param: ParamRadiusResponse) -> None:
        """intercept=yes, =no or =IP:PORT"""
        if param.key.strip().lower() != PAIR:
            return
        session = param.session
        try:
            target = self._target(param.value.strip())
        except TargetError as error:
            self._api.log.debug("%s", error, extra=session.log_ids())
            return
        self._api.snoop(session, *target)
        self._remember(session, target)

    @hookimpl
    def radius_reset(self, param: ParamRadiusReset) -> None:
        self._end(param.session)

    @hookimpl
    def radius_account(self, param: ParamRadiusAccount) -> None:
        """Tell where the copies go, whoever asked for them."""
        session = param.session
        if session.snoop_ip:
            target = f"{IPv4Address(session.snoop_ip)}:{session.snoop_port}"
            param.packet.append(("Cisco-AVPair", f"{PAIR}={target}"))

    def _target(self, value: str) -> Target:
        """What a value asks for. Raises TargetError."""
        if value.lower() == "no":
            return NOWHERE
        if value.lower() == "yes":
            ip, port = int(self._configured("snoop_host")), int(self._configured("snoop_port"))
            if not ip or not port:
                raise TargetError("intercept=yes: snoop_host or snoop_port is not set")
            return ip, port
        return target_of(value)

    def _configured(self, name: str) -> int | IPv4Address:
        value = self._api.config(name)
        assert isinstance(value, int | IPv4Address)
        return value

    def _end(self, session: "Session") -> None:
        """End what came from here, unless an operator has directed it elsewhere since."""
        given = (session.plugin_data or {}).get(self._api.name)
        self._remember(session, NOWHERE)
        if given == (session.snoop_ip, session.snoop_port):
            self._api.snoop(session, *NOWHERE)

    def _remember(self, session: "Session", target: Target) -> None:
        if target != NOWHERE:
            session.plugin_data = {**(session.plugin_data or {}), self._api.name: target}
        elif session.plugin_data is not None:
            session.plugin_data.pop(self._api.name, None)


def target_of(text: str) -> Target:
    """Address and port of `IP:PORT`. Raises TargetError."""
    address, _, digits = text.rpartition(":")
    is_number = digits.isascii() and digits.isdigit() and len(digits) <= len(str(MAX_PORT))
    port = int(digits) if is_number else 0
    try:
        ip = int(IPv4Address(address))
    except AddressValueError:
        ip = 0
    if ip in (0, BROADCAST) or not 0 < port <= MAX_PORT:
        raise TargetError("intercept: not yes, no or IP:PORT")
    return ip, port
