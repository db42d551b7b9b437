"""Configure-Request and its answers, as the lab's PPP client runs them (RFC 1661 section 4).

Not the whole automaton: a client that always wants to be open, and looks hard at every answer.
"""

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from l2tpns_core.lab.frames import (
    CONFIGURE_ACK,
    CONFIGURE_NAK,
    CONFIGURE_REJECT,
    CONFIGURE_REQUEST,
    Options,
    decode_options,
    encode_options,
)

MAX_REFUSALS: Final = 10  # Naks and Rejects of one negotiation before we give up (max-failure)


class Outcome(enum.Enum):
    """What a step of the negotiation led to."""

    NOTHING = enum.auto()
    OPENED = enum.auto()
    RESTARTED = enum.auto()
    """It was open and the LNS asked anew."""
    FAILED = enum.auto()


class Policy(Protocol):
    """What is asked for and what is accepted: the part that differs between protocols."""

    def wanted(self) -> Options:
        """The options of the next Configure-Request."""

    def judge(self, options: Options) -> tuple[int, Options]:
        """CONFIGURE_ACK, _NAK or _REJECT for the LNS's request, and the options of the answer."""

    def take_nak(self, options: Options) -> None:
        """The LNS wants other values."""

    def take_reject(self, options: Options) -> None:
        """The LNS does not know these options."""


@dataclass(slots=True)
class NegotiationTimes:
    restart_s: float = 3.0
    max_configure: int = 10


class Negotiation:
    """Both halves of one protocol's negotiation."""

    __slots__ = (
        "_last_peer",
        "_name",
        "_policy",
        "_refusals",
        "_sent",
        "_tries",
        "acked",
        "fault",
        "identifier",
        "peer_acked",
        "restart_at",
        "times",
        "write",
    )

    def __init__(
        self,
        name: str,
        policy: Policy,
        times: NegotiationTimes,
        write: Callable[[int, int, bytes], None],
        fault: Callable[[str], None],
    ) -> None:
        """`write(code, identifier, data)` sends; `fault(text)` hears of what the LNS did wrong."""
        self._name = name
        self._policy = policy
        self.times = times
        self.write = write
        self.fault = fault
        self.acked = False
        """The LNS acknowledged our request."""
        self.peer_acked = False
        """We acknowledged the LNS's request."""
        self.identifier = 0
        self.restart_at: float | None = None
        self._sent: Options = []
        self._tries = 0
        self._refusals = 0
        self._last_peer: tuple[int, bytes] | None = None

    @property
    def opened(self) -> bool:
        return self.acked and self.peer_acked

    def start(self, now: float) -> None:
        """Begin, or begin again."""
        self.acked = self.peer_acked = False
        self._tries = self._refusals = 0
        self._last_peer = None
        self._request(now)

    def assume_open(self) -> None:
        """Take over a negotiation that somebody else led (proxy LCP)."""
        self.acked = self.peer_acked = True
        self.restart_at = None

    def stop(self) -> None:
        """Not open, and not trying."""
        self.acked = self.peer_acked = False
        self.restart_at = None

    def _request(self, now: float, again: bool = False) -> None:
        if not again:
            self.identifier = (self.identifier + 1) & 0xFF
            self._sent = self._policy.wanted()
        self._tries += 1
        self.restart_at = now + self.times.restart_s
        self.write(CONFIGURE_REQUEST, self.identifier, encode_options(self._sent))

    def handle_timer(self, now: float) -> Outcome:
        """Repeat the request when its time has come."""
        if self.restart_at is None or self.restart_at > now:
            return Outcome.NOTHING
        if self._tries >= self.times.max_configure:
            self.stop()
            return Outcome.FAILED
        self.acked = False
        self._request(now, again=True)
        return Outcome.NOTHING

    def receive(self, code: int, identifier: int, data: bytes, now: float) -> Outcome:
        """Take a Configure packet. Raises FaultError for options that cannot be read."""
        options = decode_options(data)
        if code == CONFIGURE_REQUEST:
            return self._receive_request(identifier, data, options, now)
        return self._receive_answer(code, identifier, options, now)

    def _receive_request(
        self, identifier: int, data: bytes, options: Options, now: float
    ) -> Outcome:
        self._check_request(identifier, data, options)
        was_open = self.opened
        if was_open:
            self.start(now)
        self._last_peer = (identifier, data)
        code, answer = self._policy.judge(options)
        self.write(code, identifier, encode_options(answer))
        self.peer_acked = code == CONFIGURE_ACK
        if not self.peer_acked:
            self._refusals += 1
            if self._refusals > MAX_REFUSALS:
                self.stop()
                return Outcome.FAILED
        if was_open:
            return Outcome.RESTARTED
        return self._check_opened()

    def _check_request(self, identifier: int, data: bytes, options: Options) -> None:
        kinds = [kind for kind, _ in options]
        if len(set(kinds)) != len(kinds):
            self.fault(f"{self._name} Configure-Request with an option twice")
        last = self._last_peer
        if last is not None and last[0] == identifier and last[1] != data:
            self.fault(f"{self._name} Configure-Request changed but kept identifier {identifier}")

    def _receive_answer(self, code: int, identifier: int, options: Options, now: float) -> Outcome:
        if identifier != self.identifier:
            # An answer to a request that we have replaced is late, not wrong.
            if (self.identifier - identifier) & 0xFF > 128:
                self.fault(f"{self._name} answer with identifier {identifier}, never used")
            return Outcome.NOTHING
        if self.acked:
            return Outcome.NOTHING
        if code == CONFIGURE_ACK:
            if options != self._sent:
                self.fault(f"{self._name} Configure-Ack with other options than we sent")
                return Outcome.NOTHING
            self.acked = True
            return self._check_opened()
        self._check_refusal(code, options)
        self._refusals += 1
        if self._refusals > MAX_REFUSALS:
            self.stop()
            return Outcome.FAILED
        if code == CONFIGURE_NAK:
            self._policy.take_nak(options)
        elif code == CONFIGURE_REJECT:
            self._policy.take_reject(options)
        self._tries = 0
        self._request(now)
        return Outcome.NOTHING

    def _check_refusal(self, code: int, options: Options) -> None:
        if not options:
            self.fault(f"{self._name} refusal without options")
        order = {kind: place for place, (kind, _) in enumerate(self._sent)}
        places = [order[kind] for kind, _ in options if kind in order]
        if places != sorted(places):
            self.fault(f"{self._name} refusal with options in another order than we sent")
        for kind, value in options:
            if code == CONFIGURE_REJECT and (kind, value) not in self._sent:
                self.fault(f"{self._name} Configure-Reject of option {kind} that we did not send")
            if code == CONFIGURE_NAK and (kind, value) in self._sent:
                self.fault(f"{self._name} Configure-Nak of option {kind} with the same value")

    def _check_opened(self) -> Outcome:
        if not self.opened:
            return Outcome.NOTHING
        self.restart_at = None
        return Outcome.OPENED
