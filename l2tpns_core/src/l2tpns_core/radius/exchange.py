"""One request from the LNS's question to its answer, over as many tries and servers as it takes."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Final

from l2tpns_core.radius.access import (
    UnsendableError,
    decode_access_reply,
    encode_access_attributes,
)
from l2tpns_core.radius.accounting import AccountingAttributes
from l2tpns_core.radius.attributes import Nas
from l2tpns_core.radius.model import (
    AccessOutcome,
    AccessReply,
    AccessRequest,
    AccountingRecord,
    AccountingStatus,
)
from l2tpns_core.radius.transport import Slot
from l2tpns_core.radius.wire import (
    AUTHENTICATOR_OCTETS,
    Code,
    Reply,
    authenticator_of,
    encode_access_request,
    encode_accounting_request,
)
from l2tpns_core.timers import Timer

if TYPE_CHECKING:
    from l2tpns_core.radius.server import ServerPort

STATE_NAMES: Final = {
    AccountingStatus.START: "START",
    AccountingStatus.STOP: "STOP",
    AccountingStatus.INTERIM: "INTERIM",
    AccountingStatus.ACCOUNTING_ON: "ON",
    AccountingStatus.ACCOUNTING_OFF: "OFF",
}


class Exchange:
    """What requests of both kinds have in common. The client moves it along."""

    __slots__ = (
        "first_sent_at",
        "handle",
        "retry_at",
        "server",
        "slots",
        "timer",
        "tried",
        "tries",
        "tries_here",
    )

    code: ClassVar[Code]

    def __init__(self, handle: int, on_timer: Callable[["Exchange", float], None]) -> None:
        self.handle = handle
        self.timer = Timer(partial(on_timer, self))
        self.server: ServerPort | None = None
        self.slots: list[Slot] = []
        """All identifiers it was sent under; a reply to any of them ends it."""
        self.tried: list[ServerPort] = []
        self.tries = 0
        self.tries_here = 0
        self.first_sent_at = 0.0
        """When it was first sent to the server that it is with now."""
        self.retry_at = 0.0

    @property
    def state(self) -> str:
        """For `show radius`."""
        raise NotImplementedError

    @property
    def session_key(self) -> int | None:
        raise NotImplementedError

    def encode(
        self, slot: Slot, nas: Nas, random: Callable[[int], bytes], wall_time: float
    ) -> bytes:
        """A new packet for a slot, whose authenticator it sets; may raise UnsendableError."""
        raise NotImplementedError

    def succeed(self, reply: Reply) -> None:
        """Hand over a verified reply."""
        raise NotImplementedError

    def fail(self) -> None:
        """Say that no server answered."""
        raise NotImplementedError

    def refuse(self, error: UnsendableError) -> None:
        """Say that it cannot be sent at all."""
        raise NotImplementedError


class AccessExchange(Exchange):
    """An Access-Request. Repeated octet by octet, as RFC 2865 section 2.5 asks."""

    __slots__ = ("_done", "_request", "datagram")

    code = Code.ACCESS_REQUEST

    def __init__(
        self,
        handle: int,
        on_timer: Callable[[Exchange, float], None],
        request: AccessRequest,
        done: Callable[[AccessReply], None],
    ) -> None:
        super().__init__(handle, on_timer)
        self._request = request
        self._done = done
        self.datagram = b""

    @property
    def state(self) -> str:
        return "AUTH"

    @property
    def session_key(self) -> int | None:
        return self._request.identity.session_key

    def encode(
        self, slot: Slot, nas: Nas, random: Callable[[int], bytes], wall_time: float
    ) -> bytes:
        slot.authenticator = random(AUTHENTICATOR_OCTETS)
        attributes = encode_access_attributes(self._request, nas, slot.authenticator, slot.secret)
        self.datagram = encode_access_request(
            slot.identifier, slot.authenticator, attributes, slot.secret
        )
        return self.datagram

    def succeed(self, reply: Reply) -> None:
        self._done(decode_access_reply(reply))

    def fail(self) -> None:
        self._done(AccessReply(AccessOutcome.TIMEOUT))

    def refuse(self, error: UnsendableError) -> None:
        self._done(AccessReply(AccessOutcome.REJECT, problems=(str(error),)))


class AccountingExchange(Exchange):
    """An Accounting-Request. Every try is a new packet, as Acct-Delay-Time changes (RFC 2866
    section 4.1)."""

    __slots__ = ("_attributes", "_done", "_nas", "_record")

    code = Code.ACCOUNTING_REQUEST

    def __init__(
        self,
        handle: int,
        on_timer: Callable[[Exchange, float], None],
        record: AccountingRecord,
        done: Callable[[bool], None],
    ) -> None:
        super().__init__(handle, on_timer)
        self._record = record
        self._done = done
        self._nas: Nas | None = None
        self._attributes: AccountingAttributes | None = None

    @property
    def state(self) -> str:
        return STATE_NAMES[self._record.status]

    @property
    def session_key(self) -> int | None:
        identity = self._record.identity
        return identity.session_key if identity is not None else None

    def encode(
        self, slot: Slot, nas: Nas, random: Callable[[int], bytes], wall_time: float
    ) -> bytes:
        if self._attributes is None or self._nas != nas:
            self._attributes, self._nas = AccountingAttributes(self._record, nas), nas
        datagram = encode_accounting_request(
            slot.identifier, self._attributes.encode(wall_time), slot.secret
        )
        slot.authenticator = authenticator_of(datagram)
        return datagram

    def succeed(self, reply: Reply) -> None:
        self._done(True)

    def fail(self) -> None:
        self._done(False)

    def refuse(self, error: UnsendableError) -> None:
        self._done(False)
