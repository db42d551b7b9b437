"""An established tunnel as plain values: what must be known to go on with it in another process.

Secrets are not in here: a tunnel that goes on has those of the configuration.
"""

from dataclasses import dataclass
from typing import Final

MAX_NUMBER: Final = 0xFFFF


@dataclass(slots=True, frozen=True)
class SavedMessage:
    """A control message that the peer has not acknowledged."""

    session_id: int
    body: bytes
    is_answer: bool = False


@dataclass(slots=True, frozen=True)
class SavedChannel:
    """Where a control connection is. Raises ValueError for numbers that cannot be."""

    acknowledged: int
    """The number of the first message in the queue, or else of the next one."""
    next_ns: int
    """The number of the first message that was never sent, or else of the next one."""
    next_nr: int
    messages: tuple[SavedMessage, ...] = ()

    def __post_init__(self) -> None:
        check_numbers(self.acknowledged, self.next_ns, self.next_nr)
        check_numbers(*(message.session_id for message in self.messages))


@dataclass(slots=True, frozen=True)
class SavedTunnel:
    """What does not change while a tunnel is established. Raises ValueError for what cannot be."""

    local_id: int
    peer_id: int
    address: str
    port: int
    local: str
    """Our address that the LAC talks to."""
    peer_window: int
    receive_window: int
    """What the LAC was told that it may send, whatever the configuration says by now."""
    hostname: str = ""
    vendor_name: str = ""

    def __post_init__(self) -> None:
        check_ids(self.local_id, self.peer_id, self.port)
        check_numbers(self.peer_window, self.receive_window)


@dataclass(slots=True, frozen=True)
class SavedCall:
    """A call of a tunnel. Raises ValueError for ids that cannot be."""

    session_id: int
    peer_session_id: int
    sequencing_required: bool = False
    is_connected: bool = True
    """The ICCN has come."""

    def __post_init__(self) -> None:
        check_ids(self.session_id, self.peer_session_id)


def check_ids(*ids: int) -> None:
    """Raise ValueError for what is no id of a tunnel or session, nor a port."""
    if not all(0 < number <= MAX_NUMBER for number in ids):
        raise ValueError("an id is out of its range")


def check_numbers(*numbers: int) -> None:
    """Raise ValueError for what does not fit into 16 bits."""
    if not all(0 <= number <= MAX_NUMBER for number in numbers):
        raise ValueError("a number of a control connection is out of its range")
