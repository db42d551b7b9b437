"""What the maps of l2tp.bpf.c hold, as Python sees it. A test compares both."""

import struct
from typing import Final

LAYOUT: Final = 6
"""Goes up when a map of the same size means something else: older maps are then not adopted."""

SETTINGS: Final = struct.Struct("=II2sHII4xQ")
"""tun_ifindex, sessions, l2tp_port, layout, cookie, many_paths, direct_until"""

SESSION: Final = struct.Struct("=H2s4sHH")
"""What user space writes of a session: tunnel_id, peer_session_id, address, lac, flags"""
TUNNEL_ID: Final = struct.Struct("=H")
ADDRESS_AT: Final = 4
SESSION_LAC: Final = struct.Struct("=H")
LAC_AT: Final = 8
COUNTERS: Final = struct.Struct("=HHIIII")
"""What lies behind it, the programs' part: packets_in, packets_out, octets_in, octets_out, heard,
data"""
ROW: Final = SESSION.size + COUNTERS.size
"""Octets of a session, as one CPU has it."""
TOTALS: Final = struct.Struct("=QQQQQ")
"""packets_in, octets_in, packets_out, octets_out, turn"""
TIME_UNIT: Final = (1 << 26) / 1_000_000_000
"""Seconds that 1 is in `heard` and `data`."""

LAC: Final = struct.Struct("=4s4s4sI2s2sHH")
"""peer, local, gateway, ifindex, peer_port, peer_tunnel_id, mru, clamp_mss"""

DETAILS: Final = struct.Struct("=QQQQII4s12x")
"""cost_in, cost_out, full_in, full_out, dropped_in, dropped_out, magic"""
COSTS: Final = struct.Struct("=QQ")
DROPPED: Final = struct.Struct("=II")
DROPPED_AT: Final = 32
MAGIC_AT: Final = 40

SLOT: Final = struct.Struct("=I")
IDS: Final = 1 << 16
"""Slots in `slots`, two octets each, by session id."""
BLOCK: Final = 1 << 8
"""Slots in a block, two octets each, by the last octet of the address."""
NETWORK: Final = struct.Struct("=I4s")
"""prefix length, address"""
INTERCEPT: Final = struct.Struct("=4s4s2s2s")
"""target, source, target_port, source_port"""
TARGET: Final = struct.Struct("=4s2s2x")
"""address, port"""

FILTER_PAIR: Final = struct.Struct("=HH")
"""in, out"""
FILTER_RULE: Final = struct.Struct("=4s4s4s4s4H5B3x")
"""source, source_mask, destination, destination_mask, source_first, source_last,
destination_first, destination_last, protocol, form, test, set, clear"""
FILTER_BANKS: Final = 2

PUNT: Final = 1
ADDRESS_CONTROL: Final = 2
HAS_NETWORKS: Final = 4
SNOOPED: Final = 8
ECHO: Final = 16
THROTTLED: Final = 32
FILTERED: Final = 64

BURST_NS: Final = 250_000_000
RATE_SHIFT: Final = 10
OCTET_NS_AT_1_KBIT: Final = 8_000_000

TRAFFIC: Final = (
    "up_forwarded",
    "up_octets",
    "up_direct",
    "down_forwarded",
    "down_octets",
    "down_direct",
)
"""What passed, in the order of struct traffic: packets, their octets, packets that went past the IP
stack."""

OUTCOMES: Final = (
    "up_punt_control",
    "up_punt_header",
    "up_punt_fragment",
    "up_punt_super_packet",
    "up_punt_unknown_session",
    "up_punt_other_address",
    "up_punt_not_ipv4",
    "up_punt_network_down",
    "up_punt_flagged",
    "up_punt_ip_options",
    "up_punt_source_unsure",
    "up_drop_wrong_peer",
    "up_drop_packet_errors",
    "up_drop_source_spoofed",
    "up_drop_throttled",
    "up_drop_failed",
    "up_echo",
    "down_punt_not_plain",
    "down_punt_no_session",
    "down_punt_flagged",
    "down_punt_too_big",
    "down_punt_super_packet",
    "down_punt_link_mtu",
    "down_punt_no_route",
    "down_drop_throttled",
    "down_drop_failed",
    "mss_clamped",
    "packets_snooped",
    "snoop_failures",
    "copies_to_user_space",
    "up_drop_filtered",
    "down_drop_filtered",
)
"""What became of the others, in the order of enum outcome. Where the user-space plane has a counter
for the same thing, the last words are its name."""


def cost_of(rate: int) -> int:
    """Nanoseconds per octet, shifted, of a rate in kbit/s; 0 for 0 (no limit)."""
    return (OCTET_NS_AT_1_KBIT << RATE_SHIFT) // rate if rate > 0 else 0
