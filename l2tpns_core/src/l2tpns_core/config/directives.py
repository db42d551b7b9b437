"""The one table of all directives (manual, "startup-config").

A field of Config is a directive: its name is what `set` takes, its default is what a startup-config
without it means. docs/reference/directives.md is generated from it.
"""

# ruff: noqa: RUF009 - directive() returns a dataclass field, which ruff cannot know.

import difflib
from dataclasses import dataclass, fields, replace
from ipaddress import IPv4Address
from typing import Final

from l2tpns_core.config import checks
from l2tpns_core.config.directive import (
    METADATA_KEY,
    ActsAt,
    Directive,
    Value,
    directive,
    format_value,
    parse_value,
)
from l2tpns_core.config.errors import ConfigError, shown

__all__ = [
    "DIRECTIVES",
    "ActsAt",
    "Config",
    "Directive",
    "Value",
    "changed_directives",
    "find_directive",
    "format_value",
    "parse_value",
    "with_value",
]

NONE: Final = IPv4Address(0)
DAY_S: Final = 86_400
PORTS: Final = (1, 65_535)
U32: Final = (0, 0xFFFFFFFF)


@dataclass(slots=True, frozen=True)
class Config:
    """The value of every directive. Durations and sizes are in the unit of the directive."""

    # Logging and process
    debug: int = directive(
        0,
        "How much is logged: 0 critical errors, 1 errors, 2 warnings, 3 information, 4 calls, "
        "5 every packet.",
        limits=(0, 5),
    )
    log_file: str = directive(
        "",
        "Where log lines go: a file, or `syslog:` and a facility such as local5. Empty is stdout.",
        check=checks.check_log_file,
        expected=checks.LOG_FILE_EXPECTED,
    )
    log_format: str = directive(
        "text",
        "How log lines look: text for people, json for programs, one object in each line.",
        choices=("text", "json"),
    )
    pid_file: str = directive(
        "",
        "File that holds the process id while the daemon runs. Empty writes none.",
        acts_at=ActsAt.RESTART,
        check=checks.check_path,
        expected=checks.PATH_EXPECTED,
    )
    hostname: str = directive(
        "",
        "Name in the prompt, towards LACs and in CHAP. Empty is that of the machine, or of the "
        "option -h.",
        acts_at=ActsAt.RESTART,
        check=checks.check_host_name,
        expected=checks.HOST_EXPECTED,
    )
    state_dir: str = directive(
        "/var/lib/l2tpns",
        "Directory of what must outlive the process.",
        acts_at=ActsAt.RESTART,
        check=checks.check_directory,
        expected=checks.PATH_EXPECTED,
    )
    cli_socket: str = directive(
        "/run/l2tpns/cli.sock",
        "Unix socket of the command-line interface; only its owner may connect.",
        acts_at=ActsAt.RESTART,
        check=checks.check_socket_path,
        expected=checks.SOCKET_EXPECTED,
    )
    dump_speed: bool = directive(False, "Log the bandwidth every second.")
    cleanup_interval: int = directive(
        10, "Time between regular cleanups.", unit="seconds", limits=(1, DAY_S)
    )
    save_state: bool = directive(
        False,
        "Keep tunnels and sessions over a restart: by SIGTERM or SIGINT, and after a crash. See "
        "docs/restarts.md.",
        acts_at=ActsAt.RESTART,
    )
    setuid: str = directive(
        "",
        "User to become at the start, by name or number; only the capabilities that are needed "
        "are kept. See docs/deployment.md.",
        acts_at=ActsAt.RESTART,
    )
    scheduler_fifo: bool = directive(
        False,
        "Run with the real-time policy SCHED_FIFO; ignored on one processor.",
        acts_at=ActsAt.RESTART,
    )
    lock_pages: bool = directive(
        False, "Lock all pages of the process in memory.", acts_at=ActsAt.RESTART
    )

    # L2TP
    l2tp_secret: str = directive(
        "",
        "Secret shared with the LACs: answers their challenges and hides AVPs.",
        acts_at=ActsAt.NEXT_TUNNEL,
        secret=True,
    )
    l2tp_challenge_lac: bool = directive(
        False, "Let in only LACs that prove that they know l2tp_secret.", acts_at=ActsAt.NEXT_TUNNEL
    )
    l2tp_hide_avps: bool = directive(
        False,
        "Hide the AVPs that RFC 2661 allows to be hidden, when there is an l2tp_secret.",
        acts_at=ActsAt.NEXT_TUNNEL,
    )
    l2tp_port: int = directive(1701, "UDP port for LACs.", limits=PORTS, acts_at=ActsAt.RESTART)
    l2tp_mtu: int = directive(
        1500,
        "MTU of the path to the LACs. Subscribers get an MRU of 38 bytes less, at most 1492.",
        unit="bytes",
        limits=(576, 2600),
        acts_at=ActsAt.NEXT_SESSION,
    )
    l2tp_receive_window: int = directive(
        128,
        "Control messages that a LAC may send before it waits for an acknowledgement.",
        unit="messages",
        limits=(1, 32_768),
        acts_at=ActsAt.NEXT_TUNNEL,
    )
    l2tp_retransmit_timeout: int = directive(
        1,
        "Longest time before a control message is first sent again, less when the round trip "
        "is known to be short; doubles with each try, up to 8 s.",
        unit="seconds",
        limits=(1, 8),
        acts_at=ActsAt.NEXT_TUNNEL,
    )
    l2tp_max_retransmits: int = directive(
        7,
        "Tries to repeat a control message at l2tp_retransmit_timeout before the tunnel counts as "
        "lost; quicker tries do not shorten that time.",
        limits=(1, 100),
        acts_at=ActsAt.NEXT_TUNNEL,
    )
    hello_interval: int = directive(
        60,
        "Silence of a LAC before a HELLO asks whether it is there; 0 sends none.",
        unit="seconds",
        limits=(0, DAY_S),
        acts_at=ActsAt.NEXT_TUNNEL,
    )
    disable_sending_hello: bool = directive(
        False, "Send no HELLO at all, for LACs that cannot bear it.", acts_at=ActsAt.NEXT_TUNNEL
    )
    max_tunnels: int = directive(65_535, "Tunnels at a time; more are refused.", limits=PORTS)
    max_sessions: int = directive(65_535, "Sessions at a time; more are refused.", limits=PORTS)
    max_half_open: int = directive(1000, "Tunnels at a time that are being set up.", limits=PORTS)
    max_half_open_per_source: int = directive(32, "The same from one address.", limits=PORTS)
    udp_receive_buffer: int = directive(
        8_388_608,
        "Size of the receive buffer of the L2TP socket.",
        unit="bytes",
        limits=(4096, 1 << 30),
        acts_at=ActsAt.RESTART,
    )

    # PPP
    primary_dns: IPv4Address = directive(
        NONE, "First DNS server for subscribers; 0.0.0.0 gives none.", acts_at=ActsAt.NEXT_SESSION
    )
    secondary_dns: IPv4Address = directive(
        NONE, "Second DNS server for subscribers; 0.0.0.0 gives none.", acts_at=ActsAt.NEXT_SESSION
    )
    ppp_restart_time: int = directive(
        3,
        "Time before a Configure-Request is sent again.",
        unit="seconds",
        limits=(1, 60),
        acts_at=ActsAt.NEXT_SESSION,
    )
    ppp_max_configure: int = directive(
        10,
        "Configure-Requests without an answer before a session is given up.",
        limits=(1, 255),
        acts_at=ActsAt.NEXT_SESSION,
    )
    ppp_max_failure: int = directive(
        5,
        "Configure-Naks before an option is rejected instead.",
        limits=(1, 255),
        acts_at=ActsAt.NEXT_SESSION,
    )
    ppp_max_terminate: int = directive(
        2,
        "Terminate-Requests without an answer before a session ends without one.",
        limits=(1, 255),
        acts_at=ActsAt.NEXT_SESSION,
    )
    ppp_login_timeout: int = directive(
        60,
        "Time for a subscriber to log in.",
        unit="seconds",
        limits=(1, 3600),
        acts_at=ActsAt.NEXT_SESSION,
    )
    ppp_keepalive: bool = directive(
        True,
        "Send LCP echoes on silent lines only; `no` sends them at every echo_timeout.",
        acts_at=ActsAt.NEXT_SESSION,
    )
    echo_timeout: int = directive(
        10,
        "Silence before an LCP echo asks whether the subscriber is there; 0 sends none.",
        unit="seconds",
        limits=(0, 3600),
        acts_at=ActsAt.NEXT_SESSION,
    )
    line_quality_interval: int = directive(
        120,
        "Time after which a busy line gets an LCP echo too, so that its quality is known; 0 asks "
        "silent lines only.",
        unit="seconds",
        limits=(0, DAY_S),
        acts_at=ActsAt.NEXT_SESSION,
    )
    idle_echo_timeout: int = directive(
        240,
        "Silence after which a subscriber counts as gone; 0 waits for ever.",
        unit="seconds",
        limits=(0, DAY_S),
        acts_at=ActsAt.NEXT_SESSION,
    )
    chap_rechallenge: int = directive(
        0,
        "Time between CHAP challenges of a subscriber who is logged in; 0 asks only once.",
        unit="seconds",
        limits=(0, DAY_S),
        acts_at=ActsAt.NEXT_SESSION,
    )
    lcp_renegotiation: str = directive(
        "always",
        "Whether LCP is negotiated anew always, or only when the LAC's result does not suit us.",
        choices=("always", "on-mismatch"),
        acts_at=ActsAt.NEXT_SESSION,
    )

    # RADIUS
    primary_radius: IPv4Address = directive(
        NONE, "RADIUS server for authentication and accounting; 0.0.0.0 is none."
    )
    secondary_radius: IPv4Address = directive(
        NONE, "RADIUS server that is asked when the primary does not answer; 0.0.0.0 is none."
    )
    primary_radius_port: int = directive(
        1812, "UDP port for authentication; accounting is one higher.", limits=(1, 65_534)
    )
    secondary_radius_port: int = directive(
        1812,
        "The same for the secondary server; 0 takes primary_radius_port.",
        limits=(0, 65_534),
    )
    radius_secret: str = directive(
        "", "Secret shared with the RADIUS servers; without it nothing is sent.", secret=True
    )
    radius_accounting: bool = directive(
        False, "Send accounting records.", acts_at=ActsAt.NEXT_SESSION
    )
    radius_interim: int = directive(
        0,
        "Time between Interim-Updates of a session, unless RADIUS says otherwise; 0 sends none.",
        unit="seconds",
        limits=(0, DAY_S),
        acts_at=ActsAt.NEXT_SESSION,
    )
    radius_authtypes: str = directive(
        "pap",
        "Ways to log in, the preferred one first: pap, chap, mschapv2.",
        acts_at=ActsAt.NEXT_SESSION,
        check=checks.check_authtypes,
        expected=checks.AUTHTYPES_EXPECTED,
    )
    radius_require_message_authenticator: str = directive(
        "auto",
        "Whether a reply without Message-Authenticator is ignored; `auto` does so from the first "
        "reply of a server that has one.",
        choices=("yes", "no", "auto"),
    )
    radius_timeout: int = directive(
        3, "Time before a request is sent again.", unit="seconds", limits=(1, 60)
    )
    radius_tries: int = directive(
        2, "How often a server is asked before the next one is.", limits=(1, 10)
    )
    radius_dead_time: int = directive(
        30,
        "How long a server that did not answer is asked last.",
        unit="seconds",
        limits=(0, DAY_S),
    )
    nas_identifier: str = directive("", "NAS-Identifier in requests; empty is the host name.")

    # Sessions
    allow_duplicate_users: bool = directive(
        False, "Let the same user in more than once.", acts_at=ActsAt.NEXT_SESSION
    )
    duplicate_login: str = directive(
        "replace",
        "What a second login of a user does: end the first session, or be refused.",
        choices=("replace", "refuse"),
        acts_at=ActsAt.NEXT_SESSION,
    )
    guest_account: str = directive(
        "",
        "Users, separated by commas, who may be logged in more than once.",
        acts_at=ActsAt.NEXT_SESSION,
    )
    kill_timedout_sessions: bool = directive(
        True,
        "End a session at once when RADIUS gives it a Session-Timeout of 0.",
        acts_at=ActsAt.NEXT_SESSION,
    )
    throttle_speed: int = directive(
        0,
        "Speed of sessions that are throttled without a rate of their own; 0 for none: then only a "
        "rate that is named throttles.",
        unit="kbit/s",
        limits=(0, 10_000_000),
        acts_at=ActsAt.NEXT_SESSION,
    )
    snoop_host: IPv4Address = directive(
        NONE,
        "Where copies of intercepted packets go, unless another place is named; 0.0.0.0 for none.",
        acts_at=ActsAt.NEXT_SESSION,
    )
    snoop_port: int = directive(
        0,
        "UDP port of snoop_host; 0 for none.",
        limits=(0, 65_535),
        acts_at=ActsAt.NEXT_SESSION,
    )
    accounting_dir: str = directive(
        "",
        "Directory for a file of every session's usage each five minutes; empty writes none.",
        check=checks.check_path,
        expected=checks.PATH_EXPECTED,
    )
    accounting_dir_interval: int = directive(
        300, "Time between two files in accounting_dir.", unit="seconds", limits=(1, DAY_S)
    )
    accounting_spool: str = directive(
        "",
        "Directory for accounting records that no RADIUS server takes; empty is `accounting` in "
        "state_dir.",
        acts_at=ActsAt.RESTART,
        check=checks.check_path,
        expected=checks.PATH_EXPECTED,
    )
    accounting_spool_size: int = directive(
        67_108_864,
        "Most that the records there may take, some 400 bytes each; what does not fit is lost. 0 "
        "keeps none.",
        unit="bytes",
        limits=(0, 1 << 30),
    )

    # Network
    bind_address: IPv4Address = directive(
        NONE,
        "Address for L2TP, for the tun device, and the NAS-IP-Address; 0.0.0.0 listens on every "
        "address and gives the tun device 1.1.1.1.",
        acts_at=ActsAt.RESTART,
    )
    peer_address: IPv4Address = directive(
        NONE,
        "Our address on the PPP links; 0.0.0.0 is that of the tun device.",
        acts_at=ActsAt.NEXT_SESSION,
    )
    iftun_address: IPv4Address = directive(
        NONE,
        "Address of the tun device, if not bind_address.",
        acts_at=ActsAt.RESTART,
    )
    tundevicename: str = directive(
        "",
        "Name of the tun device; empty lets the kernel choose.",
        acts_at=ActsAt.RESTART,
        check=checks.check_device_name,
        expected=checks.DEVICE_EXPECTED,
    )
    route_protocol: int = directive(
        42, "Protocol number of our routes in the kernel.", limits=(1, 255), acts_at=ActsAt.RESTART
    )
    route_metric: int = directive(
        1, "Metric of our routes in the kernel.", limits=U32, acts_at=ActsAt.RESTART
    )
    send_garp: bool = directive(
        True,
        "Send a gratuitous ARP for bind_address when the daemon is ready.",
        acts_at=ActsAt.RESTART,
    )
    icmp_rate: int = directive(
        100,
        "Most ICMP errors that are sent in a second; 0 sends none.",
        unit="packets per second",
        limits=(0, 1_000_000),
    )
    multi_read_count: int = directive(
        10,
        "Packets read at a time from the L2TP socket and from the tun device.",
        unit="packets",
        limits=(1, 10_000),
    )
    dataplane: str = directive(
        "auto",
        "What forwards packets: the kernel (ebpf) or the process (user); `auto` takes the best "
        "that the system has.",
        choices=("auto", "ebpf", "user"),
        acts_at=ActsAt.RESTART,
    )
    lac_interfaces: str = directive(
        "",
        "Interfaces on which the kernel takes packets of LACs, for instance `eth0, eth1.20`; empty "
        "takes those that lead to the LACs.",
        acts_at=ActsAt.RESTART,
        check=checks.check_device_names,
        expected=checks.DEVICES_EXPECTED,
    )
    bpf_directory: str = directive(
        "/sys/fs/bpf/l2tpns",
        "Directory below a bpffs where the forwarding in the kernel outlives a daemon that is "
        "killed; empty lets it end with the daemon.",
        acts_at=ActsAt.RESTART,
        check=checks.check_path,
        expected=checks.PATH_EXPECTED,
    )
    bpf_max_routes: int = directive(
        8_192,
        "Framed-Routes of all sessions for which the kernel has room; sessions with more go "
        "through the process.",
        limits=(1, 1_000_000),
        acts_at=ActsAt.RESTART,
    )

    bpf_direct: bool = directive(
        True,
        "Let packets that the kernel forwards pass by its IP stack while nothing there would see "
        "them: no firewall rule, no capture, no policy routing. `no` sends all of them through it.",
        acts_at=ActsAt.RESTART,
    )

    # Plugins
    plugin_slow_ms: int = directive(
        50,
        "A call of a plugin that takes longer is reported in the log; 0 reports none.",
        unit="milliseconds",
        limits=(0, 60_000),
    )

    # Remote control
    cli_bind_address: IPv4Address = directive(
        IPv4Address("127.0.0.1"),
        "Address of the telnet command-line interface.",
        acts_at=ActsAt.RESTART,
    )
    cli_port: int = directive(
        23,
        "TCP port of the telnet command-line interface; 0 for none.",
        limits=(0, 65_535),
        acts_at=ActsAt.RESTART,
    )
    cli_max_operators: int = directive(
        16,
        "Operators at a time who have come by telnet.",
        limits=(1, 24),
        acts_at=ActsAt.RESTART,
    )
    cli_idle_timeout: int = directive(
        600,
        "Time without a key after which an operator is logged out of telnet; 0 for never.",
        unit="seconds",
        limits=(0, DAY_S),
        acts_at=ActsAt.RESTART,
    )
    cli_open: bool = directive(
        False,
        "Let everybody into telnet without a login while there is no users file, not only from "
        "the machine itself.",
        acts_at=ActsAt.RESTART,
    )
    nsctl_bind_address: IPv4Address = directive(
        IPv4Address("127.0.0.1"),
        "Address for nsctl.",
        acts_at=ActsAt.RESTART,
    )
    nsctl_port: int = directive(1702, "UDP port for nsctl.", limits=PORTS, acts_at=ActsAt.RESTART)
    nsctl_secret: str = directive(
        "",
        "Secret shared with nsctl; with it, requests that do not prove to know it are refused.",
        secret=True,
    )

    # Metrics
    metrics_bind_address: IPv4Address = directive(
        IPv4Address("127.0.0.1"), "Address that Prometheus finds the metrics on."
    )
    metrics_port: int = directive(
        0,
        "TCP port of the metrics, for instance 9729; 0 has none.",
        limits=(0, 65_535),
    )

    # Cluster and routing
    cluster_address: IPv4Address = directive(
        IPv4Address("239.192.13.13"),
        "Multicast address of the cluster.",
        acts_at=ActsAt.RESTART,
    )
    cluster_interface: str = directive(
        "eth0",
        "Interface for cluster packets.",
        acts_at=ActsAt.RESTART,
        check=checks.check_device_name,
        expected=checks.DEVICE_EXPECTED,
    )
    cluster_hb_interval: int = directive(
        5, "Time between heartbeats.", unit="tenths of a second", limits=(1, 36_000)
    )
    cluster_hb_timeout: int = directive(
        150,
        "Time without a heartbeat before a new master is elected; 6 intervals at least.",
        unit="tenths of a second",
        limits=(1, 36_000),
    )
    cluster_secret: str = directive(
        "",
        "Secret of the cluster, the same on all nodes. Without one this node stands alone.",
        acts_at=ActsAt.RESTART,
        secret=True,
    )
    cluster_port: int = directive(
        32_792, "UDP port for cluster packets.", limits=PORTS, acts_at=ActsAt.RESTART
    )
    cluster_mcast_ttl: int = directive(
        1, "TTL of multicast cluster packets.", limits=(1, 255), acts_at=ActsAt.RESTART
    )
    cluster_nodes: str = directive(
        "",
        "Addresses of all nodes, where there is no multicast; cluster_address is not used then.",
        acts_at=ActsAt.RESTART,
        check=checks.check_addresses,
        expected=checks.ADDRESSES_EXPECTED,
    )
    cluster_master_min_adv: int = directive(
        1,
        "The master draws no traffic while so many slaves are up to date.",
        limits=(0, 64),
        acts_at=ActsAt.RESTART,
    )
    cluster_quorum: int = directive(
        1,
        "Nodes that must hear each other for one of them to be master.",
        limits=(1, 64),
        acts_at=ActsAt.RESTART,
    )
    cluster_backend: str = directive(
        "multicast",
        "Who says which node is the master: the nodes among themselves, or etcd.",
        choices=("multicast", "etcd"),
        acts_at=ActsAt.RESTART,
    )
    cluster_etcd: str = directive(
        "",
        "Endpoints of etcd, for instance https://10.0.0.1:2379, with commas between them.",
        acts_at=ActsAt.RESTART,
        check=checks.check_endpoints,
        expected=checks.ENDPOINTS_EXPECTED,
    )
    cluster_etcd_prefix: str = directive(
        "/l2tpns/",
        "What the keys of this cluster begin with in etcd.",
        acts_at=ActsAt.RESTART,
        check=checks.check_prefix,
        expected=checks.PREFIX_EXPECTED,
    )
    cluster_etcd_user: str = directive(
        "", "User name for etcd; empty for none.", acts_at=ActsAt.RESTART
    )
    cluster_etcd_password_file: str = directive(
        "", "File with the password of that user.", acts_at=ActsAt.RESTART
    )
    cluster_etcd_ca: str = directive(
        "",
        "File with the certificates that etcd's is signed by; empty for those of the system.",
        acts_at=ActsAt.RESTART,
    )
    cluster_etcd_cert: str = directive(
        "", "File with our certificate for etcd; empty for none.", acts_at=ActsAt.RESTART
    )
    cluster_etcd_key: str = directive(
        "", "File with the key of that certificate.", acts_at=ActsAt.RESTART
    )
    cluster_etcd_hold: int = directive(
        120,
        "How long a master goes on without etcd at most, if all other nodes let it; and how long a"
        " node that is not up to date waits for nodes that are missing. 0 for not at all.",
        unit="seconds",
        limits=(0, 86_400),
        acts_at=ActsAt.RESTART,
    )
    as_number: int = directive(0, "Our AS number for BGP.", limits=U32, acts_at=ActsAt.RESTART)
    bgp_peer1: str = directive("", "First BGP peer, a name or an address.", acts_at=ActsAt.RESTART)
    bgp_peer1_as: int = directive(
        0,
        "AS number of the first BGP peer; 0 for our own.",
        limits=U32,
        acts_at=ActsAt.RESTART,
    )
    bgp_peer1_source: IPv4Address = directive(
        IPv4Address(0),
        "Our address towards the first BGP peer; 0.0.0.0 for that of the interface.",
        acts_at=ActsAt.RESTART,
    )
    bgp_peer1_hold: int = directive(
        180,
        "Time without a message after which the first BGP session ends.",
        unit="seconds",
        limits=(3, 65_535),
        acts_at=ActsAt.RESTART,
    )
    bgp_peer1_password: str = directive(
        "",
        "Password of the first BGP session (TCP MD5).",
        acts_at=ActsAt.RESTART,
        secret=True,
    )
    bgp_peer2: str = directive("", "Second BGP peer, a name or an address.", acts_at=ActsAt.RESTART)
    bgp_peer2_as: int = directive(
        0,
        "AS number of the second BGP peer; 0 for our own.",
        limits=U32,
        acts_at=ActsAt.RESTART,
    )
    bgp_peer2_source: IPv4Address = directive(
        IPv4Address(0),
        "Our address towards the second BGP peer; 0.0.0.0 for that of the interface.",
        acts_at=ActsAt.RESTART,
    )
    bgp_peer2_hold: int = directive(
        180,
        "Time without a message after which the second BGP session ends.",
        unit="seconds",
        limits=(3, 65_535),
        acts_at=ActsAt.RESTART,
    )
    bgp_peer2_password: str = directive(
        "",
        "Password of the second BGP session (TCP MD5).",
        acts_at=ActsAt.RESTART,
        secret=True,
    )
    nexthop_address: IPv4Address = directive(
        IPv4Address(0),
        "Next hop of what is announced by BGP; 0.0.0.0 for our address towards each peer.",
        acts_at=ActsAt.RESTART,
    )
    bgp_graceful_restart: str = directive(
        "auto",
        "Seconds that BGP peers keep our routes while the daemon restarts; 0 for not at all, auto "
        "for 120 with save_state and without a cluster.",
        acts_at=ActsAt.RESTART,
        check=checks.check_graceful_restart,
        expected=checks.GRACEFUL_EXPECTED,
    )

    @property
    def radius_ports(self) -> tuple[int, int]:
        """The authentication ports of the primary and the secondary server, both above 0."""
        return (
            self.primary_radius_port,
            self.secondary_radius_port or self.primary_radius_port,
        )


def _table() -> dict[str, Directive]:
    entries: dict[str, Directive] = {}
    for field in fields(Config):
        entry: Directive = field.metadata[METADATA_KEY]
        entries[field.name] = replace(entry, name=field.name)
    return entries


DIRECTIVES: Final[dict[str, Directive]] = _table()
"""Every directive by name, in the order of the table."""


def find_directive(name: str) -> Directive:
    """The directive of a name. Raises ConfigError with the nearest name."""
    entry = DIRECTIVES.get(name)
    if entry is None:
        nearest = difflib.get_close_matches(name.lower()[:64], DIRECTIVES, n=1, cutoff=0.7)
        raise ConfigError(
            f"Unknown variable {shown(name)}",
            value=name,
            nearest=nearest[0] if nearest else "",
        )
    return entry


def with_value(config: Config, name: str, text: str) -> Config:
    """The configuration after `set NAME TEXT`. Raises ConfigError; `config` itself stays."""
    changes: dict[str, object] = {name: parse_value(find_directive(name), text)}
    return replace(config, **changes)  # type: ignore[arg-type]


def changed_directives(old: Config, new: Config) -> list[Directive]:
    """The directives whose values differ, in the order of the table."""
    return [entry for name, entry in DIRECTIVES.items() if getattr(old, name) != getattr(new, name)]
