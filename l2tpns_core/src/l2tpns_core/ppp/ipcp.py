"""The IP Control Protocol (RFC 1332) with the name server options of RFC 1877."""

import enum
from collections.abc import Callable, Iterable
from typing import Final

from l2tpns_core.ppp.config import NetworkConfig
from l2tpns_core.ppp.frame import Packet, Protocol
from l2tpns_core.ppp.options import Option, Verdict, decode_options
from l2tpns_core.ppp.protocol import ControlProtocol, Host

ADDRESS_BYTES: Final = 4


class IpcpOption(enum.IntEnum):
    """IPCP option types that have a meaning here; all others are rejected."""

    ADDRESS = 3
    PRIMARY_DNS = 129
    SECONDARY_DNS = 131


class Ipcp(ControlProtocol):
    """IPCP of one link: the peer gets the address that it was assigned and no other."""

    __slots__ = ("_address_accepted", "_address_hinted", "closed_reported", "heard", "network")

    protocol = Protocol.IPCP

    def __init__(self, network: NetworkConfig) -> None:
        super().__init__()
        self.network = network
        self.heard = False
        """A packet of the peer's IPCP came."""
        self.closed_reported = False
        """The owner of the link knows that the network is closed for good."""
        self._address_accepted = True  # the peer lets us tell it our address
        self._address_hinted = False  # the peer has been told to ask for an address

    def wanted_options(self) -> Iterable[Option]:
        if self._address_accepted:
            yield Option(IpcpOption.ADDRESS, _encode_address(self.network.local_ip))

    def begin(self, host: Host, now: float) -> None:
        self._address_accepted = True
        self._address_hinted = False

    def give_way(self, host: Host, option: Option) -> None:
        """Our address is not the peer's to choose: ask for the same again."""

    def give_up(self, option: Option) -> None:
        if option.type == IpcpOption.ADDRESS:
            self._address_accepted = False

    def check(self, host: Host, option: Option) -> Verdict | bytes:
        getter = _ASSIGNED.get(option.type)
        address = getter(self.network) if getter else 0
        if not address:
            return Verdict.REJECT
        value = _encode_address(address)
        return Verdict.ACCEPT if option.value == value else value

    def missing(self, options: Iterable[Option]) -> dict[int, bytes]:
        if self._address_hinted or IpcpOption.ADDRESS in dict(options):
            return {}
        self._address_hinted = True
        return {IpcpOption.ADDRESS: _encode_address(self.network.peer_ip)}

    def adopt(self, options: Iterable[Option]) -> None:
        """Nothing to keep: what is acceptable is what we assigned."""


def wanted_address(request: Packet) -> int:
    """The address that a Configure-Request asks for, 0 for none. Raises PppError."""
    value = dict(decode_options(request.data)).get(IpcpOption.ADDRESS, b"")
    return int.from_bytes(value, "big") if len(value) == ADDRESS_BYTES else 0


def _encode_address(address: int) -> bytes:
    return address.to_bytes(ADDRESS_BYTES, "big")


_ASSIGNED: Final[dict[int, Callable[[NetworkConfig], int]]] = {
    IpcpOption.ADDRESS: lambda network: network.peer_ip,
    IpcpOption.PRIMARY_DNS: lambda network: network.dns[0],
    IpcpOption.SECONDARY_DNS: lambda network: network.dns[1],
}
