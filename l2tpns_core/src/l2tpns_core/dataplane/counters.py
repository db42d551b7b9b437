"""What a data plane counts as a whole, beside the counters of each session."""

from dataclasses import dataclass, fields


@dataclass(slots=True)
class PlaneCounters:
    """Since the start of the plane; Python integers, so they never wrap.

    Octets on the socket side are UDP payloads, on the TUN side IP packets.
    """

    socket_rx_packets: int = 0
    socket_rx_octets: int = 0
    socket_tx_packets: int = 0
    socket_tx_octets: int = 0
    tun_rx_packets: int = 0
    tun_rx_octets: int = 0
    tun_tx_packets: int = 0
    tun_tx_octets: int = 0

    # Handed to the control plane
    control_received: int = 0
    frames_received: int = 0
    network_down: int = 0
    """IP packets of sessions without a network, handed up with the PPP frames."""
    handler_failures: int = 0
    """Reports that the control plane failed to handle."""

    # From the LAC, dropped
    header_errors: int = 0
    """Datagrams that are no L2TPv2: too short, another version, lengths that do not fit."""
    unknown_session: int = 0
    wrong_peer: int = 0
    """Data for a session from another address than that of its LAC."""
    empty: int = 0
    """Data messages without a payload."""
    packet_errors: int = 0
    """Subscribers' IP packets with a broken header or cut short."""
    source_spoofed: int = 0
    """Packets with a source address that is not the subscriber's."""
    hook_drops_in: int = 0
    filter_drops_in: int = 0
    """Packets that an access list does not let pass."""

    # To the subscriber, dropped
    not_ipv4: int = 0
    no_session: int = 0
    """Packets to an address that no session has."""
    too_big: int = 0
    """Packets over the MRU of the session that must not be fragmented."""
    hook_drops_out: int = 0
    filter_drops_out: int = 0
    """Packets that an access list does not let pass."""

    # Work done on the way
    mss_clamped: int = 0
    packets_fragmented: int = 0
    fragments_sent: int = 0
    icmp_sent: int = 0
    icmp_suppressed: int = 0
    """ICMP errors that `icmp_rate` or RFC 1122 section 3.2.2 forbade."""
    frames_sent: int = 0
    frames_unsent: int = 0
    """PPP frames for sessions that the plane does not have."""

    # Limits and interception, both directions
    throttle_drops: int = 0
    """Packets over a session's rate that found its queue full."""
    throttle_delayed: int = 0
    packets_snooped: int = 0
    snoop_failures: int = 0
    """Copies that the kernel did not take."""

    # Sequence numbers, of sessions that are gone
    sequence_lost: int = 0
    sequence_late: int = 0
    sequence_duplicates: int = 0
    sequence_reordered: int = 0
    sequence_resynchronised: int = 0

    # What the kernel refused
    socket_errors: int = 0
    socket_send_failures: int = 0
    tun_errors: int = 0
    tun_write_failures: int = 0
    socket_overruns: int = 0
    """Datagrams that found the receive buffer full (see `udp_receive_buffer`)."""

    def as_dict(self) -> dict[str, int]:
        """Name and value of every counter, in the order of this class."""
        return {field.name: getattr(self, field.name) for field in fields(self)}
