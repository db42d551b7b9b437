"""Gratuitous ARP: tells the neighbours which machine has an address now (RFC 5227 section 3)."""

import socket
import struct
from typing import Final

from l2tpns_core.net.netlink import Interface, Netlink

ETH_P_ARP: Final = 0x0806
BROADCAST: Final = b"\xff" * 6
ETHERNET: Final = 1
IPV4: Final = 0x0800
REQUEST: Final = 1
MIN_FRAME: Final = 60
"""An Ethernet frame without its checksum is no shorter."""


def announcement(mac: bytes, address: int) -> bytes:
    """The Ethernet frame: an ARP request with the address as sender and as target."""
    raw = address.to_bytes(4, "big")
    ethernet = BROADCAST + mac + struct.pack(">H", ETH_P_ARP)
    arp = struct.pack(">HHBBH", ETHERNET, IPV4, 6, 4, REQUEST) + mac + raw + bytes(6) + raw
    return (ethernet + arp).ljust(MIN_FRAME, b"\0")


def send(interface: Interface, address: int) -> None:
    """Announce an address on one interface. Raises OSError; needs CAP_NET_RAW."""
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
    with raw:
        raw.bind((interface.name, 0))
        raw.send(announcement(interface.mac, address))


async def announce(netlink: Netlink, address: int) -> list[str]:
    """Announce an address on every Ethernet interface on whose network it lies.

    Returns the names of the interfaces; none when the address is only on the TUN device and in no
    connected network. Raises OSError.
    """
    interfaces = await netlink.interfaces_for(address)
    for interface in interfaces:
        send(interface, address)
    return [interface.name for interface in interfaces]
