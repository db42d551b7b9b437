"""What else than the nodes themselves may elect the master."""

from ipaddress import IPv4Address
from typing import Protocol

from l2tpns_core import __version__
from l2tpns_core.cluster.events import Event
from l2tpns_core.cluster.node import ClusterNode
from l2tpns_core.cluster.transport import ClusterTransport
from l2tpns_core.cluster_etcd.records import Member
from l2tpns_core.clustering.settings import ClusterPlace


class Backend(Protocol):
    """Appoints and dismisses the node."""

    name: str

    def on_event(self, event: Event) -> None:
        """Before anything else is made of an event of the node."""

    def state(self) -> str:
        """For `show cluster`."""

    async def stop(self) -> None:
        """After the node has left."""


def start_backend(
    node: ClusterNode, transport: ClusterTransport, place: ClusterPlace, saved_time: int
) -> Backend | None:
    """None where the nodes elect."""
    if place.etcd is None:
        return None
    from l2tpns_core.cluster_etcd.backend import EtcdBackend  # brings an HTTP library

    address = str(IPv4Address(place.settings.address))
    member = Member(address, node.started, place.port, __version__, saved_time=saved_time)
    backend = EtcdBackend(node, transport, place.etcd, member, place.peers)
    backend.start()
    return backend
