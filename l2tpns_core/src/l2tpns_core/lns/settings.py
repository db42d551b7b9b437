"""From the configuration to what the protocol machines are told."""

from dataclasses import dataclass
from ipaddress import IPv4Address

from l2tpns_core.config.directives import Config
from l2tpns_core.l2tp.config import EndpointConfig
from l2tpns_core.ppp.config import AuthProtocol, LcpRenegotiation, LinkConfig

VENDOR_NAME = "l2tpns"
OVERHEAD = 38
"""IP 20, UDP 8, L2TP 6 and PPP 4 bytes around a subscriber's packet."""
MAX_MRU = 1492
"""What a subscriber on a PPPoE line can take (RFC 2516 section 7)."""
DEFAULT_TUN_ADDRESS = int(IPv4Address("1.1.1.1"))
"""The address of the TUN device when none is configured (manual, "bind_address")."""

AUTH_PROTOCOLS = {
    "pap": AuthProtocol.PAP,
    "chap": AuthProtocol.CHAP_MD5,
    "mschapv2": AuthProtocol.MSCHAP_V2,
}


@dataclass(slots=True, frozen=True)
class LnsSettings:
    """The configuration as the LNS uses it. Addresses are host-order integers."""

    endpoint: EndpointConfig
    link: LinkConfig
    mru: int
    local_ip: int
    """Our side of every PPP link."""
    own_ips: frozenset[int]
    """Addresses of the LNS and of the servers that it depends on: no subscriber gets them."""
    dns: tuple[int, int]
    interim_interval: int
    guests: frozenset[str]
    """User names that may be logged in more than once (`guest_account`), in one case."""


def tun_address(config: Config) -> int:
    """The address of the TUN device."""
    return int(config.iftun_address) or int(config.bind_address) or DEFAULT_TUN_ADDRESS


def own_addresses(config: Config) -> frozenset[int]:
    """The addresses that the LNS itself has."""
    return frozenset((int(config.bind_address), int(config.peer_address), tun_address(config)))


def mru_of(config: Config) -> int:
    """The MRU that is announced to subscribers, which is also the MTU of the TUN device."""
    return min(config.l2tp_mtu - OVERHEAD, MAX_MRU)


def settings_from(config: Config) -> LnsSettings:
    """Derive everything from a configuration; `hostname` must be filled in."""
    return LnsSettings(
        endpoint=_endpoint(config),
        link=_link(config),
        mru=mru_of(config),
        local_ip=int(config.peer_address) or tun_address(config),
        own_ips=own_addresses(config)
        | {int(config.primary_radius), int(config.secondary_radius)}
        | {int(config.primary_dns), int(config.secondary_dns)},
        dns=(int(config.primary_dns), int(config.secondary_dns)),
        interim_interval=config.radius_interim,
        guests=frozenset(
            name.strip().casefold() for name in config.guest_account.split(",") if name.strip()
        ),
    )


def _endpoint(config: Config) -> EndpointConfig:
    return EndpointConfig(
        hostname=config.hostname,
        vendor_name=VENDOR_NAME,
        secret=config.l2tp_secret.encode(),
        challenge_peer=config.l2tp_challenge_lac,
        hide_avps=config.l2tp_hide_avps,
        receive_window=config.l2tp_receive_window,
        retransmit_initial_s=float(config.l2tp_retransmit_timeout),
        max_retransmits=config.l2tp_max_retransmits,
        hello_interval_s=0.0 if config.disable_sending_hello else float(config.hello_interval),
        max_tunnels=config.max_tunnels,
        max_half_open=config.max_half_open,
        max_half_open_per_source=config.max_half_open_per_source,
    )


def _link(config: Config) -> LinkConfig:
    return LinkConfig(
        hostname=config.hostname,
        mru=mru_of(config),
        auth=tuple(AUTH_PROTOCOLS[name.strip()] for name in config.radius_authtypes.split(",")),
        restart_s=float(config.ppp_restart_time),
        max_configure=config.ppp_max_configure,
        max_failure=config.ppp_max_failure,
        max_terminate=config.ppp_max_terminate,
        echo_interval_s=float(config.echo_timeout),
        dead_after_s=float(config.idle_echo_timeout),
        echo_only_idle=config.ppp_keepalive,
        echo_busy_s=float(config.line_quality_interval),
        login_timeout_s=float(config.ppp_login_timeout),
        rechallenge_s=float(config.chap_rechallenge),
        renegotiate=LcpRenegotiation(config.lcp_renegotiation),
    )
