"""Authenticated nsctl: a packet of the second format inside one that a shared secret seals.

    0        2         4              12       28       60
    | 0x9014 | version | milliseconds | nonce  | HMAC   | packet of the second format
               (1)       Unix, 64 bit   16       32

HMAC is HMAC-SHA256 with the secret as its key over a label for the direction, the header up to and
including the nonce, and the packet. The reply carries the nonce of its request, so that no old
reply passes for a new one. The server takes each nonce once, and no request whose clock differs by
more than WINDOW_S from its own or that is older than the server itself.
"""

import hashlib
import hmac
import struct
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from l2tpns_core.control.wire import MAX_PACKET, Fault, WireError

MAGIC_SEALED: Final = 0x9014
VERSION: Final = 1
NONCE_BYTES: Final = 16
WINDOW_S: Final = 30.0
MAX_NONCES: Final = 65_536
"""Requests that are remembered; when so many came within the window, further ones are refused."""

_HEADER: Final = struct.Struct("!HHQ16s")
_MAC_BYTES: Final = 32
OVERHEAD: Final = _HEADER.size + _MAC_BYTES
MAX_SEALED: Final = MAX_PACKET + OVERHEAD
_REQUEST_LABEL: Final = b"l2tpns nsctl request\0"
_REPLY_LABEL: Final = b"l2tpns nsctl reply\0"


@dataclass(slots=True, frozen=True)
class Opened:
    """A sealed packet whose seal is right."""

    nonce: bytes
    time: float
    """Unix time of the sender."""
    packet: bytes


def is_sealed(datagram: bytes) -> bool:
    return datagram[:2] == MAGIC_SEALED.to_bytes(2)


def seal_request(packet: bytes, secret: bytes, nonce: bytes, time: float) -> bytes:
    return _seal(_REQUEST_LABEL, packet, secret, nonce, time)


def open_request(datagram: bytes, secret: bytes) -> Opened:
    """Check the seal, not yet the time and the nonce. Raises WireError."""
    return _open(_REQUEST_LABEL, datagram, secret)


def seal_reply(packet: bytes, secret: bytes, nonce: bytes, time: float) -> bytes:
    """`nonce` is that of the request."""
    return _seal(_REPLY_LABEL, packet, secret, nonce, time)


def open_reply(datagram: bytes, secret: bytes, nonce: bytes) -> bytes:
    """The packet inside the reply to the request with this nonce. Raises WireError."""
    opened = _open(_REPLY_LABEL, datagram, secret)
    if opened.nonce != nonce:
        raise WireError(Fault.REPLAYED)
    return opened.packet


class ReplayGuard:
    """Takes each sealed request once. `started_time` is the Unix time before which it refuses all,
    because what was taken before that is not known any more."""

    __slots__ = ("_seen", "_started_time")

    def __init__(self, started_time: float) -> None:
        self._started_time = int(started_time * 1000) / 1000  # as exact as a request says it
        self._seen: OrderedDict[bytes, float] = OrderedDict()
        """Nonces by arrival, with the Unix time up to which they would be taken."""

    def take(self, request: Opened, now: float) -> None:
        """Raises WireError unless the request is new; `now` is Unix time."""
        while self._seen and next(iter(self._seen.values())) < now:
            self._seen.popitem(last=False)
        if abs(request.time - now) > WINDOW_S or request.time < self._started_time:
            raise WireError(Fault.STALE)
        if request.nonce in self._seen or len(self._seen) >= MAX_NONCES:
            raise WireError(Fault.REPLAYED)
        self._seen[request.nonce] = request.time + WINDOW_S


def _seal(label: bytes, packet: bytes, secret: bytes, nonce: bytes, time: float) -> bytes:
    header = _HEADER.pack(MAGIC_SEALED, VERSION, int(time * 1000), nonce)
    return header + _mac(label, header, packet, secret) + packet


def _open(label: bytes, datagram: bytes, secret: bytes) -> Opened:
    if not is_sealed(datagram):
        raise WireError(Fault.NOT_SEALED)
    if len(datagram) < OVERHEAD:
        raise WireError(Fault.SHORT)
    if len(datagram) > MAX_SEALED:
        raise WireError(Fault.EXTRA)
    header, packet = datagram[: _HEADER.size], datagram[OVERHEAD:]
    _, version, milliseconds, nonce = _HEADER.unpack(header)
    if version != VERSION:
        raise WireError(Fault.TYPE)
    sent = datagram[_HEADER.size : OVERHEAD]
    if not secret or not hmac.compare_digest(sent, _mac(label, header, packet, secret)):
        raise WireError(Fault.WRONG_SEAL)
    return Opened(nonce, milliseconds / 1000, packet)


def _mac(label: bytes, header: bytes, packet: bytes, secret: bytes) -> bytes:
    return hmac.new(secret, label + header + packet, hashlib.sha256).digest()
