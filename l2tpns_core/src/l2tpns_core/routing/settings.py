"""What the configuration says of BGP, and what ExaBGP is told."""

import socket
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from ipaddress import IPv4Address
from typing import Final

from l2tpns_core.config.directives import Config
from l2tpns_core.startup import StartError

AUTO: Final = "auto"
RESTART_S: Final = 120
"""How long a router keeps our routes while we are away, where nothing else is said."""
DISCARD_PORT: Final = 9
MED: Final = 1
LOCAL_PREFERENCE: Final = 100
MAX_PASSWORD: Final = 80
"""Octets that the kernel takes (TCP_MD5SIG_MAXKEYLEN)."""
NO_ADDRESS: Final = IPv4Address(0)

Prefix = tuple[int, int]
"""Network and prefix length."""


@dataclass(slots=True, frozen=True)
class BgpPeer:
    """A router that we announce to."""

    address: IPv4Address
    asn: int
    source: IPv4Address
    """Our address on the session, and the next hop of what is announced."""
    hold_s: int
    password: str = field(default="", repr=False)
    """For TCP MD5 (RFC 2385)."""


@dataclass(slots=True, frozen=True)
class BgpSettings:
    """All of it."""

    asn: int
    router_id: IPv4Address
    peers: tuple[BgpPeer, ...]
    restart_s: int = 0
    """Graceful restart (RFC 4724); 0 for none."""
    next_hop: IPv4Address = NO_ADDRESS
    """Of what is announced; 0.0.0.0 for the address of each session."""


def bgp_settings(config: Config, *, is_clustered: bool) -> BgpSettings | None:
    """None where no BGP is configured. Raises StartError for what cannot be."""
    wanted = [
        (
            config.bgp_peer1,
            config.bgp_peer1_as,
            config.bgp_peer1_source,
            config.bgp_peer1_hold,
            config.bgp_peer1_password,
        ),
        (
            config.bgp_peer2,
            config.bgp_peer2_as,
            config.bgp_peer2_source,
            config.bgp_peer2_hold,
            config.bgp_peer2_password,
        ),
    ]
    named = [each for each in wanted if each[0]]
    if not named:
        return None
    if find_spec("exabgp") is None:
        raise StartError("BGP needs ExaBGP: pip install 'l2tpns-core[bgp]'")
    if not config.as_number:
        raise StartError("bgp_peer1 or bgp_peer2 is set, but as_number is not")
    peers = tuple(_peer(config, *each) for each in named)
    if len({peer.address for peer in peers}) < len(peers):
        raise StartError(f"bgp_peer1 and bgp_peer2 are the same: {peers[0].address}")
    router_id = config.bind_address if int(config.bind_address) else peers[0].source
    return BgpSettings(
        config.as_number, router_id, peers, restart_seconds(config, is_clustered=is_clustered),
        config.nexthop_address,
    )  # fmt: skip


def restart_seconds(config: Config, *, is_clustered: bool) -> int:
    """How long routers are to keep our routes while we are away. By itself: as long as it takes
    for the next daemon where sessions wait for it, and not at all where other nodes go on."""
    if config.bgp_graceful_restart != AUTO:
        return int(config.bgp_graceful_restart)
    return RESTART_S if config.save_state and not is_clustered else 0


def _peer(
    config: Config, name: str, asn: int, source: IPv4Address, hold_s: int, password: str
) -> BgpPeer:
    try:
        address = IPv4Address(socket.gethostbyname(name))
        if not int(source):
            source = source_towards(address)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or "it is no name"
        raise StartError(f"BGP peer {name}: {why} (see bgp_peer1, bgp_peer2)") from error
    if len(password.encode()) > MAX_PASSWORD:
        raise StartError(f"the password of BGP peer {name} has more than {MAX_PASSWORD} octets")
    return BgpPeer(address, asn or config.as_number, source, hold_s, password)


def source_towards(address: IPv4Address) -> IPv4Address:
    """The address of ours that the kernel would use. Raises OSError."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((str(address), DISCARD_PORT))
        return IPv4Address(probe.getsockname()[0])


def configuration_text(settings: BgpSettings, relay: Sequence[str]) -> str:
    """The configuration of ExaBGP; `relay` is the command that joins it to us."""
    blocks = [f"process lns {{\n    run {' '.join(relay)};\n    encoder json;\n}}\n"]
    for peer in settings.peers:
        lines = [
            f"router-id {settings.router_id}",
            f"local-address {peer.source}",
            f"local-as {settings.asn}",
            f"peer-as {peer.asn}",
            f"hold-time {peer.hold_s}",
            "manual-eor true",
        ]
        if peer.password:
            # as Base64, for no way to quote is safe: ExaBGP unescapes a line before it looks for
            # quotes in it
            key = b64encode(peer.password.encode()).decode()
            lines += [f'md5-password "{key}"', "md5-base64 true"]
        restart = f"graceful-restart {settings.restart_s or 'disable'};"
        inner = [
            f"capability {{ route-refresh enable; {restart} }}",
            "family { ipv4 unicast; }",
            "api { processes [ lns ]; neighbor-changes; }",
        ]
        body = "".join(f"    {line};\n" for line in lines) + "".join(f"    {x}\n" for x in inner)
        blocks.append(f"neighbor {peer.address} {{\n{body}}}\n")
    return "\n".join(blocks)


def announce(settings: BgpSettings, peer: BgpPeer, prefix: Prefix) -> str:
    """The command that announces a network to a peer. Origin, MED, local preference and community
    are those of the C program: the route stays in the peer's AS."""
    hop = str(settings.next_hop) if int(settings.next_hop) else "self"
    internal = f" local-preference {LOCAL_PREFERENCE}" if peer.asn == settings.asn else ""
    return (
        f"neighbor {peer.address} announce route {text_of(prefix)} next-hop {hop} "
        f"origin igp med {MED}{internal} community [no-export]"
    )


def withdraw(settings: BgpSettings, peer: BgpPeer, prefix: Prefix) -> str:
    hop = str(settings.next_hop) if int(settings.next_hop) else "self"
    return f"neighbor {peer.address} withdraw route {text_of(prefix)} next-hop {hop}"


def end_of_rib(peer: BgpPeer) -> str:
    """What was announced is all that there is."""
    return f"neighbor {peer.address} announce eor ipv4 unicast"


def teardown(peer: BgpPeer) -> str:
    """End the session; it comes up again (Cease, administrative reset, RFC 4486)."""
    return f"neighbor {peer.address} teardown 4"


def text_of(prefix: Prefix) -> str:
    return f"{IPv4Address(prefix[0])}/{prefix[1]}"
