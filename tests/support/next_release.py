"""The daemon as a later release might be: what nodes tell each other has a higher version, a field
more in each message, a kind of message more, and in the rows a field and a kind more. It is run
like `python -m l2tpns_core.daemon`."""

import struct
import sys
from collections.abc import Iterator
from typing import Any, Final

from l2tpns_core import daemon
from l2tpns_core.cluster import messages, seal
from l2tpns_core.cluster.context import Context
from l2tpns_core.cluster.messages import Heartbeat, Message, Ping
from l2tpns_core.state.image import Image
from l2tpns_core.state.records import Record, Records

NEW_TAG: Final = 200
NEW_KIND: Final = 60
NEW_RECORD: Final = "later"
NEW_FIELD: Final = "of_a_later_release"

_encode = messages.encode
_send = Context.send
_changes = Records.changes
_everything = Records.everything
_apply = Image.apply


class Novelty(Message):
    """What this release knows nothing of."""

    KIND = NEW_KIND


def encode(message: Message) -> bytes:
    body = b"" if isinstance(message, Novelty) else _encode(message)
    return body + struct.pack("!BH", NEW_TAG, 4) + b"news"


def send(self: Context, message: Message, *rest: Any, **options: Any) -> None:
    _send(self, message, *rest, **options)
    if isinstance(message, (Heartbeat, Ping)):
        _send(self, Novelty(), *rest, **options)


def changes(self: Records) -> list[Record]:
    found = [with_news(record) for record in _changes(self)]
    return [*found, [NEW_RECORD, {"key": 1}]] if found else found


def everything(self: Records) -> Iterator[list[Record]]:
    for some in _everything(self):
        yield [*(with_news(record) for record in some), [NEW_RECORD, {"key": 1}]]


def with_news(record: Record) -> Record:
    kind, value = record
    return [kind, {**value, NEW_FIELD: 1}] if kind in ("s", "t") else record


def apply(self: Image, record: Record) -> None:
    """It knows what it has written itself."""
    kind, value = record
    if kind != NEW_RECORD:
        if isinstance(value, dict):
            value = {name: each for name, each in value.items() if name != NEW_FIELD}
        _apply(self, [kind, value])


def become_the_next_release() -> None:
    seal.VERSION += 1
    messages.encode = encode
    Context.send = send
    Records.changes = changes
    Records.everything = everything
    Image.apply = apply


if __name__ == "__main__":
    become_the_next_release()
    sys.exit(daemon.main())
