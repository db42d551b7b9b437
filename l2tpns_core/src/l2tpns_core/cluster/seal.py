"""The header of a datagram: who sent it and when, and that it was somebody who knows the secret.

     0  "lC"
     2  version of the sender
     3  the lowest version that understands this
     4  kind of message
     5  0
     6  address of the sender, 4 octets
    10  when its process was started, Unix milliseconds, 8 octets
    18  counts up with every datagram of that process, 8 octets
    26  when it was sent, Unix milliseconds, 8 octets
    34  the message
     -  HMAC-SHA-256 of all before, its first 16 octets

A datagram is refused when it was sent more than MAX_SKEW_S ago or ahead by our clock, came before,
is far behind the latest of its sender, or is of a process that another one has replaced. So what
somebody has recorded is worth nothing, also to a node that was just started.
"""

import hmac
from dataclasses import dataclass
from struct import Struct
from typing import Final, NamedTuple

from l2tpns_core.cluster.errors import ClusterError, Refusal
from l2tpns_core.cluster.messages import MAX_BODY, Message, decode_body, encode_body

VERSION: Final = 1
MINIMUM_VERSION: Final = 1
"""The lowest version that understands what we send."""
MAGIC: Final = b"lC"
HEADER: Final = Struct("!2sBBBxIQQQ")
TAG_BYTES: Final = 16
OVERHEAD: Final = HEADER.size + TAG_BYTES
MAX_DATAGRAM: Final = OVERHEAD + MAX_BODY
MAX_SKEW_S: Final = 30.0
WINDOW: Final = 4_096
"""How far a datagram may be behind the latest of its sender."""
MAX_SENDERS: Final = 64
DIGEST: Final = "sha256"
PURPOSE: Final = b"l2tpns cluster"


class Opened(NamedTuple):
    """A datagram of a node of ours."""

    sender: int
    message: Message


@dataclass(slots=True)
class _Sender:
    """What is remembered of the datagrams of a node."""

    boot: int
    latest: int = 0
    seen: int = 0
    """Bit n for the datagram n behind the latest."""

    def take(self, counter: int) -> bool:
        """Whether this is the first time that it comes."""
        ahead = counter - self.latest
        if ahead > 0:
            self.seen = (self.seen << ahead | 1) & (1 << WINDOW) - 1 if ahead < WINDOW else 1
            self.latest = counter
            return True
        if -ahead >= WINDOW or self.seen >> -ahead & 1:
            return False
        self.seen |= 1 << -ahead
        return True


class Seal:
    """Seals what a process sends, and opens what it gets."""

    def __init__(self, secret: bytes, address: int, boot: int) -> None:
        """`boot` is the Unix time of the start of the process in milliseconds."""
        self.address = address
        self._key = hmac.digest(secret, PURPOSE, DIGEST)
        self._boot = boot
        self._counter = 0
        self._senders: dict[int, _Sender] = {}

    def seal(self, message: Message, wall: float) -> bytes:
        """The datagram of a message at a Unix time. Raises ClusterError for one too large."""
        body = encode_body(message)
        self._counter += 1
        sent_ms = max(int(wall * 1000), 0)
        head = HEADER.pack(
            *(MAGIC, VERSION, MINIMUM_VERSION, message.KIND),
            *(self.address, self._boot, self._counter, sent_ms),
        )
        data = head + body
        return data + self._tag(data)

    def open(self, data: bytes, wall: float) -> Opened | None:
        """The message of a datagram; None for our own. Raises ClusterError."""
        if not OVERHEAD <= len(data) <= MAX_DATAGRAM:
            raise ClusterError(Refusal.SIZE, "a datagram is too short or too long")
        magic, version, minimum, kind, sender, boot, counter, sent = HEADER.unpack_from(data)
        if magic != MAGIC:
            raise ClusterError(Refusal.MAGIC, "a datagram is not of a cluster")
        if not version >= MINIMUM_VERSION or minimum > VERSION:
            raise ClusterError(Refusal.VERSION, f"a node has version {version}, we have {VERSION}")
        sealed = data[:-TAG_BYTES]
        if not hmac.compare_digest(self._tag(sealed), data[-TAG_BYTES:]):
            raise ClusterError(Refusal.KEY, "a node has another cluster_secret")
        if sender == self.address and boot == self._boot:
            return None
        if abs(wall - sent / 1000) > MAX_SKEW_S:
            raise ClusterError(Refusal.TIME, "the clock of a node is wrong, or a message is old")
        self._check_order(sender, boot, counter)
        return Opened(sender, decode_body(kind, sealed[HEADER.size :]))

    def _check_order(self, address: int, boot: int, counter: int) -> None:
        known = self._senders.get(address)
        if known is None and len(self._senders) >= MAX_SENDERS:
            raise ClusterError(Refusal.PEERS, "there are too many nodes")
        if known is not None and boot < known.boot:
            raise ClusterError(Refusal.REPLAY, "a message is of a process that is gone")
        if known is None or boot > known.boot:
            known = self._senders[address] = _Sender(boot)
        if not known.take(counter):
            raise ClusterError(Refusal.REPLAY, "a message came before")

    def _tag(self, data: bytes) -> bytes:
        return hmac.digest(self._key, data, DIGEST)[:TAG_BYTES]
