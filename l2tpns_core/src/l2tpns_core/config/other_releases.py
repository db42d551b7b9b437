"""What the C program's releases have in their startup-config and this one has not, and why."""

from typing import Final

IPV6: Final = "IPv6 is not served by this release"
PPPOE: Final = "PPPoE is not served: sessions come by L2TP"
LAC: Final = "this is an LNS only and dials no other one"

OTHER_DIRECTIVES: Final[dict[str, str]] = {
    "account_all_origin": LAC,
    "append_realm": "let the RADIUS server add the realm",
    "auth_tunnel_change_addr_src": "a LAC that changes its address has to call again",
    "bind_address_remotelns": LAC,
    "bind_multi_address": "one address is listened on: bind_address, or all with 0.0.0.0",
    "bind_portremotelns": LAC,
    "cluster_master": "who is master is not said by a directive",
    "default_ipv6_domain_list": IPV6,
    "dhcp6_preferred_lifetime": IPV6,
    "dhcp6_server_duid": IPV6,
    "dhcp6_valid_lifetime": IPV6,
    "disable_lac_func": LAC,
    "disable_no_spoof": "source addresses are always checked",
    "dns6_lifetime": IPV6,
    "ipv6_prefix": IPV6,
    "kernel_accel": "the kernel forwards by itself, see dataplane",
    "mp_mrru": "multilink PPP is not offered",
    "multi_hostname": "one name is used towards all LACs: hostname",
    "nexthop6_address": IPV6,
    "no_throttle_local_IP": "a rate holds for all packets of a session",
    "packet_limit": "a rate holds for packets of any size, see throttle_speed",
    "pppoe_ac_name": PPPOE,
    "pppoe_if_to_bind": PPPOE,
    "pppoe_only_equal_svc_name": PPPOE,
    "pppoe_service_name": PPPOE,
    "primary_ipv6_dns": IPV6,
    "radius_bind_max": "ports towards RADIUS are chosen by the system",
    "radius_bind_min": "ports towards RADIUS are chosen by the system",
    "radius_dae_port": "requests of the RADIUS server (CoA, Disconnect) are not taken",
    "random_device": "random numbers always come from the kernel",
    "secondary_ipv6_dns": IPV6,
    "throttle_buckets": "any number of sessions may be throttled",
}
"""Directives of 2.x releases and of forks that this one does not know."""

OTHER_COMMANDS: Final[dict[str, str]] = {
    "ip": "of the ip commands there is access-list only",
    "no": "it takes something back that this release does not have",
    "setforward": LAC,
}
"""Commands that 2.x releases write into the file."""

OTHER_PLUGINS: Final[dict[str, str]] = {
    "punish": "it was never part of a release",
    "sessionctl": "`drop` of nsctl works without a plugin",
    "snoopctl": "`snoop` of nsctl works without a plugin",
    "throttlectl": "`throttle` of nsctl works without a plugin",
    "setrxspeed": "the speed that the LAC tells goes to RADIUS as it is",
    "stripdomain": "let the RADIUS server strip the domain",
}
"""Plugins of the C program that are not needed here."""

CHANGED: Final[dict[str, str]] = {
    "accounting_dir": "files are the same; accounting_dir_interval may change the five minutes",
    "cli_bind_address": "from elsewhere only users of the users file get in, see cli_open",
    "icmp_rate": "unless it is set, 100 are sent in a second, and not none",
    "save_state": "tunnels survive too, a crash as well, and the kernel goes on forwarding",
    "send_garp": "the interface is found by the address",
    "setuid": "the rights that are needed are kept, all others are given up",
}
"""Directives that mean a little more or less than in 2.x releases."""
