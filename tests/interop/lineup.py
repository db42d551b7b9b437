"""The line-up: a real client, the daemon in its namespace, FreeRADIUS, a host behind the LNS.

guest 10.9.0.2 --- lac0 10.9.0.1 [ LNS, FreeRADIUS ] 10.8.0.1 --- 10.8.0.2 host
"""

from ipaddress import IPv4Network
from pathlib import Path

from interop.freeradius import User
from interop.namespaces import Child, Namespace, wait_for
from interop.realclient import package_tree

LNS = "10.9.0.1"
CLIENT = "10.9.0.2"
GATEWAY = "10.8.0.1"
HOST = "10.8.0.2"
GATEWAY_MAC = "02:00:00:00:00:01"
HOST_MAC = "02:00:00:00:00:02"
PEER = "10.20.0.1"
"""The LNS's end of every PPP link."""
DNS = ("10.20.0.53", "10.20.0.54")
RADIUS_SECRET = "radius secret"
TUNNEL_SECRET = "tunnel-secret"
INTERIM_S = 2
ETHERNET_HEADER = 14
POOL = IPv4Network("10.20.1.0/24")
PASSWORD = "correct horse"
FIXED_ADDRESS = "10.20.2.7"
RATE, RATE_IN, RATE_OUT = 1000, 1500, 2000
"""kbit/s that RADIUS sets."""
SNOOP_PORT = 9000
USERS = [
    *(User(name, PASSWORD) for name in ("alice", "bob", "carol", "dave", "erin", "meter")),
    User("fixed", PASSWORD, {"Framed-IP-Address": FIXED_ADDRESS}),
    User("late", PASSWORD, pairs=("garden=unpaid",)),
    User("slow", PASSWORD, pairs=(f"throttle={RATE}",)),
    User(
        "policed",
        PASSWORD,
        pairs=(
            f"lcp:interface-config#1=service-policy input {RATE_IN}",
            f"lcp:interface-config#2=service-policy output {RATE_OUT}",
        ),
    ),
    User("tapped", PASSWORD, pairs=(f"intercept={HOST}:{SNOOP_PORT}",)),
]
DIRECTIVES = {
    "debug": "3",
    "hostname": "lns.test",
    "l2tp_secret": TUNNEL_SECRET,
    "bind_address": LNS,
    "peer_address": PEER,
    "primary_dns": DNS[0],
    "secondary_dns": DNS[1],
    "primary_radius": "127.0.0.1",
    "radius_secret": RADIUS_SECRET,
    "radius_accounting": "yes",
    "radius_interim": str(INTERIM_S),
    "radius_authtypes": "mschapv2, chap, pap",
}


class Host:
    """The host behind the LNS: answers pings, serves TCP, and counts what really passed.

    Its line has neither segmentation offload nor ARP, so that the counts are exact."""

    def __init__(self, lns: Namespace, namespace: Namespace, directory: Path) -> None:
        self.namespace = namespace
        lns.ip(
            *("link", "add", "net0", "address", GATEWAY_MAC, "type", "veth"),
            *("peer", "name", "host0", "address", HOST_MAC, "netns", namespace.name),
        )
        ends = (
            (lns, "net0", GATEWAY, (HOST, HOST_MAC)),
            (namespace, "host0", HOST, (GATEWAY, GATEWAY_MAC)),
        )
        for end, interface, address, (neighbour, mac) in ends:
            end.ip("addr", "add", f"{address}/24", "dev", interface)
            end.ip("link", "set", interface, "gso_max_segs", "1", "up")
            end.ip("neigh", "add", neighbour, "lladdr", mac, "nud", "permanent", "dev", interface)
        namespace.ip("route", "add", "default", "via", GATEWAY)
        options = ("-s", "-B", HOST, "--forceflush")
        command = package_tree().command("/usr/bin/iperf3", *options)
        self._server = Child(namespace.command(*command), directory / "iperf3")
        wait_for(lambda: "listening" in self._server.output(), 10, "word from the iperf3 server")

    def traffic(self) -> tuple[int, int]:
        """IP bytes so far: (received here, sent from here)."""
        found = self.namespace.statistics("host0")
        received, sent = (
            found[f"{way}_bytes"] - ETHERNET_HEADER * found[f"{way}_packets"]
            for way in ("rx", "tx")
        )
        return received, sent

    def close(self) -> None:
        self._server.stop()
