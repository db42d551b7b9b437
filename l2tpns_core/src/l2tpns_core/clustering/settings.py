"""What the configuration says of the cluster."""

import socket
import time
from dataclasses import dataclass
from importlib.util import find_spec
from ipaddress import IPv4Address
from typing import Final

from l2tpns_core.cluster.settings import ClusterSettings
from l2tpns_core.cluster.transport import address_of, open_socket
from l2tpns_core.cluster_etcd.settings import (
    EtcdSettings,
    EtcdSettingsError,
    etcd_settings,
    uses_etcd,
)
from l2tpns_core.config.checks import SEPARATORS
from l2tpns_core.config.directives import Config
from l2tpns_core.startup import StartError

TENTHS: Final = 10
MULTICAST: Final = "multicast"


@dataclass(slots=True)
class ClusterPlace:
    """Where this node is in the network of its cluster."""

    settings: ClusterSettings
    sock: socket.socket
    group: IPv4Address | None
    port: int
    peers: tuple[IPv4Address, ...]
    etcd: EtcdSettings | None = None
    """Where the master is elected, if not among the nodes."""


def is_clustered(config: Config) -> bool:
    """Whether there is a cluster: a secret makes one."""
    return bool(config.cluster_secret)


def open_place(config: Config) -> ClusterPlace:
    """Open the socket of a node. Raises StartError."""
    device = config.cluster_interface
    try:
        address = address_of(device)
    except OSError as error:
        raise StartError(
            f"{device} has no IPv4 address: {error.strerror} (see cluster_interface)"
        ) from error
    etcd = settings_of_etcd(config)
    peers = peers_of(config)
    group = None if peers or etcd else config.cluster_address
    port = config.cluster_port
    try:
        sock = open_socket(device, address, group, port, config.cluster_mcast_ttl)
    except OSError as error:
        raise StartError(
            f"cannot bind UDP port {port} on {device}: {error.strerror} "
            "(see cluster_interface, cluster_address and cluster_port)"
        ) from error
    settings = ClusterSettings(
        address=int(address),
        secret=config.cluster_secret.encode(),
        interval=config.cluster_hb_interval / TENTHS,
        timeout=config.cluster_hb_timeout / TENTHS,
        min_followers=config.cluster_master_min_adv,
        quorum=config.cluster_quorum,
        elects=etcd is None,
    )
    others = tuple(peer for peer in peers if peer != address)
    return ClusterPlace(settings, sock, group, port, others, etcd)


def settings_of_etcd(config: Config) -> EtcdSettings | None:
    """What is said of etcd, when that elects the master. Raises StartError."""
    if not uses_etcd(config):
        return None
    if find_spec("aiohttp") is None:
        raise StartError("cluster_backend etcd needs aiohttp: pip install 'l2tpns-core[etcd]'")
    try:
        return etcd_settings(config)
    except EtcdSettingsError as error:
        raise StartError(str(error)) from error


def peers_of(config: Config) -> tuple[IPv4Address, ...]:
    """The nodes that are named one by one, where there is no multicast."""
    return tuple(IPv4Address(name) for name in SEPARATORS.split(config.cluster_nodes) if name)


def started_ms() -> int:
    """When this process came up, as nodes tell each other."""
    return int(time.time() * 1000)
