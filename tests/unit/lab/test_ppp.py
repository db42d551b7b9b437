"""The lab's PPP client against an LNS that the test plays, in virtual time."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2tpns_core.lab import frames
from l2tpns_core.lab.frames import encode_packet
from l2tpns_core.lab.ppp import Phase, PppClient, PppCounters, PppOptions

LCP, PAP, CHAP, IPCP = (
    frames.PROTO_LCP,
    frames.PROTO_PAP,
    frames.PROTO_CHAP,
    frames.PROTO_IPCP,
)
MAGIC = b"\xaa\xbb\xcc\xdd"
ASK_PAP = b"\x03\x04\xc0\x23\x05\x06" + MAGIC
ASK_CHAP = b"\x03\x05\xc2\x23\x05\x05\x06" + MAGIC
LNS_IP = b"\x03\x06\x0a\x00\x00\x01"
OUR_IP = b"\x03\x06\x0a\x00\x00\x09"
DNS = b"\x81\x06\x09\x09\x09\x09\x83\x06\x08\x08\x08\x08"


class Wire:
    """Owner of a client: keeps what it sends and says."""

    def __init__(self, **options: object) -> None:
        self.sent: list[bytes] = []
        self.faults: list[str] = []
        self.events: list[str] = []
        self.packets: list[bytes] = []
        self.now = 0.0
        settings = {"user": "alice", "password": "wonder", **options}
        self.client = PppClient(
            PppOptions(**settings),  # type: ignore[arg-type]
            self,
            lambda count: bytes(range(1, count + 1)),
            PppCounters(),
        )

    def send_frame(self, frame: bytes) -> None:
        self.sent.append(frame)

    def ppp_fault(self, text: str) -> None:
        self.faults.append(text)

    def ppp_up(self) -> None:
        self.events.append("up")

    def ppp_down(self, reason: str) -> None:
        self.events.append(f"down: {reason}")

    def ppp_packet(self, packet: bytes) -> None:
        self.packets.append(packet)

    def take(self) -> list[tuple[int, int, int, bytes]]:
        """(protocol, code, identifier, data) of what was sent since the last time."""
        taken = [
            (int.from_bytes(frame[2:4], "big"), *frames.decode_packet(frame[4:]))
            for frame in self.sent
        ]
        self.sent.clear()
        return taken

    def give(self, protocol: int, code: int, identifier: int, data: bytes = b"") -> None:
        self.client.receive(encode_packet(protocol, code, identifier, data), self.now)

    def wait(self, seconds: float) -> None:
        end = self.now + seconds
        while (due := self.client.get_timer()) is not None and due <= end:
            self.now = due
            self.client.handle_timer(due)
        self.now = end

    def open_lcp(self, ask: bytes = ASK_PAP) -> None:
        self.client.start(self.now)
        [(_, _, identifier, data)] = self.take()
        self.give(LCP, 2, identifier, data)
        self.give(LCP, 1, 1, ask)

    def log_in(self) -> None:
        self.open_lcp()
        self.give(PAP, 2, self.take()[-1][2], b"\0")

    def come_up(self) -> None:
        self.log_in()
        [(_, _, identifier, data)] = self.take()
        self.give(IPCP, 1, 1, LNS_IP)
        self.give(IPCP, 3, identifier, OUR_IP + DNS)
        _, (_, _, identifier, data) = self.take()
        self.give(IPCP, 2, identifier, data)


def test_a_pap_client_comes_up_with_address_and_dns() -> None:
    wire = Wire()
    wire.open_lcp()
    assert wire.take() == [(LCP, 2, 1, ASK_PAP), (PAP, 1, 1, b"\x05alice\x06wonder")]
    assert wire.client.phase is Phase.AUTHENTICATE
    wire.give(PAP, 2, 1, b"\x02hi")
    [(protocol, code, identifier, data)] = wire.take()
    assert (protocol, code) == (IPCP, 1)
    assert data == b"\x03\x06\0\0\0\0\x81\x06\0\0\0\0\x83\x06\0\0\0\0"
    wire.give(IPCP, 1, 1, LNS_IP)
    wire.give(IPCP, 3, identifier, OUR_IP + DNS)
    ack, (_, _, identifier, data) = wire.take()
    assert ack == (IPCP, 2, 1, LNS_IP)
    assert data == OUR_IP + DNS
    assert wire.events == []
    wire.give(IPCP, 2, identifier, data)
    assert wire.events == ["up"]
    assert wire.client.ip == 0x0A000009
    assert wire.client.dns == (0x09090909, 0x08080808)
    assert wire.faults == []


def test_a_chap_client_answers_the_challenge_with_the_hash() -> None:
    wire = Wire()
    wire.open_lcp(ASK_CHAP)
    wire.take()
    wire.give(CHAP, 1, 9, b"\x04abcdlns")
    expected = hashlib.md5(b"\x09wonderabcd").digest()
    assert wire.take() == [(CHAP, 2, 9, b"\x10" + expected + b"alice")]
    wire.give(CHAP, 3, 9, b"welcome")
    assert wire.take()[0][:2] == (IPCP, 1)
    assert wire.client.auth_message == b"welcome"


def test_a_second_challenge_is_answered_without_starting_ipcp_again() -> None:
    wire = Wire()
    wire.open_lcp(ASK_CHAP)
    for identifier in (1, 2):
        wire.give(CHAP, 1, identifier, b"\x04abcdlns")
        wire.give(CHAP, 3, identifier)
    assert [packet[:2] for packet in wire.take()[1:]] == [(CHAP, 2), (IPCP, 1), (CHAP, 2)]


def test_a_refusal_is_noted_and_the_lns_has_the_next_word() -> None:
    wire = Wire()
    wire.open_lcp()
    wire.give(PAP, 3, 1, b"\x02no")
    assert (wire.client.refused, wire.client.auth_message) == (True, b"no")
    assert (wire.events, wire.faults) == ([], [])


def test_what_the_client_does_not_agree_to_is_refused() -> None:
    wire = Wire(auth=("pap",))
    wire.client.start(0.0)
    wire.take()
    wire.give(LCP, 1, 1, ASK_CHAP)
    wire.give(LCP, 1, 2, ASK_PAP + b"\x11\x04\x06\x4e")
    wire.give(LCP, 1, 3, ASK_PAP)
    assert wire.take() == [
        (LCP, 3, 1, b"\x03\x04\xc0\x23"),
        (LCP, 4, 2, b"\x11\x04\x06\x4e"),
        (LCP, 2, 3, ASK_PAP),
    ]


def test_the_clients_own_request_follows_naks_and_rejects() -> None:
    wire = Wire(mru=1000, compress=True)
    wire.client.start(0.0)
    [(_, _, first, _)] = wire.take()
    wire.give(LCP, 3, first, b"\x01\x04\x05\xa0")
    [(_, _, second, data)] = wire.take()
    assert data == b"\x01\x04\x05\xa0\x02\x06\0\0\0\0\x05\x06\1\2\3\4\x07\x02\x08\x02"
    wire.give(LCP, 4, second, b"\x07\x02")
    [(_, _, third, data)] = wire.take()
    assert data == b"\x01\x04\x05\xa0\x02\x06\0\0\0\0\x05\x06\1\2\3\4\x08\x02"
    assert len({first, second, third}) == 3
    assert wire.faults == []


def test_an_unanswered_request_is_repeated_and_then_the_link_ends() -> None:
    wire = Wire()
    wire.client.start(0.0)
    wire.wait(100)
    requests = wire.take()
    assert len(requests) == 10
    assert len({identifier for _, _, identifier, _ in requests}) == 1
    assert wire.events == ["down: LCP does not come up"]


def test_a_pap_request_is_repeated_until_it_is_answered() -> None:
    wire = Wire()
    wire.open_lcp()
    wire.take()
    wire.wait(7)
    assert wire.take() == [(PAP, 1, 1, b"\x05alice\x06wonder")] * 2
    wire.give(PAP, 2, 1, b"\0")
    wire.take()
    wire.wait(2)
    assert wire.take() == []


def test_echoes_are_answered_with_our_magic_number() -> None:
    wire = Wire()
    wire.come_up()
    wire.give(LCP, 9, 77, MAGIC + b"data")
    assert wire.take() == [(LCP, 10, 77, b"\1\2\3\4data")]
    wire.client.answer_echo = False
    wire.give(LCP, 9, 78, MAGIC)
    assert wire.take() == []
    assert wire.client.counters.echo_requests_received == 2
    assert wire.faults == []


def test_the_client_sends_echoes_at_its_interval_and_checks_the_answers() -> None:
    wire = Wire(echo_interval_s=10)
    wire.come_up()
    wire.wait(10)
    [(_, code, identifier, data)] = wire.take()
    assert (code, data) == (9, b"\1\2\3\4\1\2\3\4")
    wire.give(LCP, 10, identifier, MAGIC + b"\1\2\3\4")
    assert wire.faults == []
    wire.wait(10)
    [(_, _, identifier, _)] = wire.take()
    wire.give(LCP, 10, identifier, MAGIC + b"\1\2\3\5")
    assert wire.faults == ["LCP Echo-Reply with a wrong magic number or other data than we sent"]


def test_the_lns_may_end_the_link() -> None:
    wire = Wire()
    wire.come_up()
    wire.give(LCP, 5, 5, b"bye")
    assert wire.take() == [(LCP, 6, 5, b"bye")]
    assert wire.events == ["up", "down: the LNS ended the link: bye"]
    wire.give(LCP, 5, 6, b"bye")
    assert wire.take() == [(LCP, 6, 6, b"bye")]
    assert len(wire.events) == 2


def test_the_client_may_end_the_link() -> None:
    wire = Wire()
    wire.come_up()
    wire.client.terminate()
    [(_, code, identifier, _)] = wire.take()
    assert code == 5
    wire.give(LCP, 9, 1, MAGIC)  # was on its way
    wire.give(LCP, 6, identifier)
    assert wire.events == ["up", "down: we ended the link"]
    assert wire.faults == []
    assert wire.client.get_timer() is None


def test_a_new_lcp_negotiation_goes_the_whole_way_again() -> None:
    wire = Wire()
    wire.come_up()
    wire.give(LCP, 1, 2, ASK_PAP)
    (_, code, identifier, data), ack = wire.take()
    assert (code, ack) == (1, (LCP, 2, 2, ASK_PAP))
    wire.give(LCP, 2, identifier, data)
    assert [packet[:2] for packet in wire.take()] == [(PAP, 1)]
    assert wire.client.counters.renegotiations == 1
    assert not wire.client.authenticated
    assert wire.faults == []


def test_a_protocol_that_the_client_does_not_speak_is_rejected() -> None:
    wire = Wire()
    wire.come_up()
    wire.give(0x8057, 1, 1, b"\x01\x0a12345678")
    [(protocol, code, _, data)] = wire.take()
    assert (protocol, code, data[:2]) == (LCP, 8, b"\x80\x57")
    assert wire.faults == []


def test_after_proxy_authentication_only_the_verdict_is_missing() -> None:
    wire = Wire()
    wire.client.start_after_proxy(b"\xc0\x23", MAGIC, 7)
    wire.give(PAP, 2, 7, b"\0")
    assert [packet[:2] for packet in wire.take()] == [(IPCP, 1)]
    assert wire.faults == []


@pytest.mark.parametrize("phase", ["lcp", "login", "network"])
@pytest.mark.parametrize(("compress", "frame"), [(False, b"\x21E"), (False, b"\x00\x21E")])
def test_compression_that_was_not_agreed_to_is_a_fault(
    phase: str, compress: bool, frame: bytes
) -> None:
    wire = Wire(compress=compress)
    {"lcp": wire.open_lcp, "login": wire.log_in, "network": wire.come_up}[phase]()
    wire.client.receive(frame, 0.0)
    assert len(wire.faults) == 1


def test_compression_that_was_agreed_to_is_used_both_ways() -> None:
    wire = Wire(compress=True)
    ask, wire_packet = ASK_PAP + b"\x07\x02\x08\x02", b"E" * 20
    wire.open_lcp(ask)
    wire.give(PAP, 2, wire.take()[-1][2], b"\0")
    [(_, _, identifier, _)] = wire.take()
    wire.give(IPCP, 1, 1, LNS_IP)
    wire.give(IPCP, 4, identifier, DNS[:0] + b"\x81\x06\0\0\0\0\x83\x06\0\0\0\0")
    _, (_, _, identifier, _) = wire.take()
    wire.give(IPCP, 3, identifier, OUR_IP)
    [(_, _, identifier, data)] = wire.take()
    wire.give(IPCP, 2, identifier, data)
    wire.client.receive(b"\x21" + wire_packet, 0.0)
    assert wire.packets == [wire_packet]
    wire.client.send_ip(wire_packet)
    assert wire.sent == [b"\x21" + wire_packet]
    assert wire.faults == []


def test_what_the_lns_does_wrong_is_a_fault() -> None:
    """One step of the LNS after another, each with the fault that it must cause."""
    wire = Wire()
    wire.client.start(0.0)
    [(_, _, identifier, data)] = wire.take()
    steps = [
        ("ack", (LCP, 2, identifier, data + b"\x07\x02"), "Ack with other options"),
        ("ack id", (LCP, 2, identifier + 1, data), "never used"),
        ("nak same", (LCP, 3, identifier, data[-6:]), "Nak of option 5 with the same value"),
        ("early pap", (PAP, 2, 1, b"\0"), "before LCP is open"),
        ("early echo", (LCP, 9, 1, MAGIC), "Echo-Request before LCP is open"),
        ("twice", (LCP, 1, 4, ASK_PAP + ASK_PAP), "with an option twice"),
        ("same id", (LCP, 1, 4, ASK_PAP), "kept identifier 4"),
        ("code", (LCP, 99, 1, b""), "LCP code 99"),
        ("echo reply", (LCP, 10, 1, MAGIC), "nobody asked for"),
    ]
    for name, (protocol, code, number, body), expected in steps:
        wire.faults.clear()
        wire.give(protocol, code, number, body)
        assert any(expected in fault for fault in wire.faults), (name, wire.faults)


@pytest.mark.parametrize(
    ("protocol", "code", "identifier", "data", "expected"),
    [
        (PAP, 2, 9, b"\0", "PAP answer 9 to request 1"),
        (PAP, 2, 1, b"", "without its message length"),
        (PAP, 1, 1, b"\0", "PAP code 1 from the LNS"),
        (CHAP, 3, 1, b"", "CHAP although PAP was agreed"),
        (IPCP, 1, 1, LNS_IP, "IPCP before the login was answered"),
        (LCP, 9, 1, b"\0\0\0\0", "Echo-Request with magic 00000000"),
    ],
)
def test_faults_while_the_client_logs_in(
    protocol: int, code: int, identifier: int, data: bytes, expected: str
) -> None:
    wire = Wire()
    wire.open_lcp()
    wire.give(protocol, code, identifier, data)
    assert any(expected in fault for fault in wire.faults), wire.faults


@pytest.mark.parametrize(
    ("code", "data", "expected"),
    [
        (1, b"\x03\x06\0\0\0\0", "the LNS's own IPCP address is 00000000"),
        (1, b"", "the LNS's own IPCP address is missing"),
        (3, b"\x03\x06\0\0\0\0", "with the same value"),
        (3, b"\x90\x06\0\0\0\1", "Nak of option 144 that we did not send"),
        (4, b"\x90\x06\0\0\0\1", "Reject of option 144 that we did not send"),
        (4, b"\x03\x06\0\0\0\0", "Reject of the address option"),
    ],
)
def test_faults_while_ipcp_opens(code: int, data: bytes, expected: str) -> None:
    wire = Wire()
    wire.log_in()
    [(_, _, identifier, _)] = wire.take()
    wire.give(IPCP, code, identifier, data)
    assert any(expected in fault for fault in wire.faults), wire.faults


def test_an_acknowledged_address_of_zero_is_a_fault() -> None:
    wire = Wire()
    wire.log_in()
    [(_, _, identifier, data)] = wire.take()
    wire.give(IPCP, 1, 1, LNS_IP)
    wire.give(IPCP, 2, identifier, data)
    assert wire.faults == ["IPCP opened without an address for us"]


def test_an_ipv4_packet_before_the_network_is_open_is_a_fault() -> None:
    wire = Wire()
    wire.open_lcp()
    wire.client.receive(b"\xff\x03\x00\x21E", 0.0)
    assert wire.faults == ["an IPv4 packet in phase authenticate"]


@given(st.lists(st.binary(max_size=40), max_size=10), st.sampled_from(["lcp", "login", "network"]))
def test_no_frames_raise_anything(given_frames: list[bytes], phase: str) -> None:
    wire = Wire()
    {"lcp": wire.open_lcp, "login": wire.log_in, "network": wire.come_up}[phase]()
    for frame in given_frames:
        wire.client.receive(frame, wire.now)
        wire.client.receive(b"\xff\x03" + frame, wire.now)
        wire.client.receive(b"\xff\x03\xc0\x21" + frame, wire.now)
        wire.wait(1)
