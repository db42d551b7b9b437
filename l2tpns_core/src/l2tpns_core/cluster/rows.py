"""Rows, the records of saved state, as octets in a message.

JSON in lines, deflated. The compressor knows in advance what rows look like, so that even one by
itself becomes short. What it knows belongs to the version of the messages.
"""

import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from l2tpns_core.cluster.errors import ClusterError, Refusal
from l2tpns_core.cluster.messages import MAX_BODY, PREFERRED_BODY
from l2tpns_core.state.codec import from_json, to_json
from l2tpns_core.state.errors import StateError

Row = list[Any]

MAX_ROWS_BYTES: Final = 1 << 20
"""Octets of the rows of a message before they are deflated."""
ROOM: Final = PREFERRED_BODY - 120
"""Octets that rows should fit into: the rest is for the other fields of a message."""
MAX_DEFLATED: Final = MAX_BODY - 8_000
LEVEL: Final = 6
LIKELY: Final = (
    b'["c",[["S",["T",["m",["t",["e",["E",["p",["w",{"time":17"unique":'
    b'["p",{"ip":,"user":"","freed_time":17'
    b'["e",{"status":1,"accounting_id":"","event_time":17,"session_key":,"cause":1,"reason":"'
    b'["t",{"local_id":,"peer_id":,"address":"10.","port":1701,"local":"10.","peer_window":'
    b',"receive_window":,"hostname":"","vendor_name":"'
    b',"throttle_in":,"throttle_out":,"snoop_ip":,"snoop_port":,"walled_garden":true,"filter_in":"'
    b',"session_timeout":,"idle_timeout":,"classes":["],"filter_out":"","sequencing_required":true'
    b'\n["s",{"tunnel_id":1,"session_id":1,"peer_session_id":1,"unique":1,"opened":179543'
    b',"lac_address":"10.0.0.1","link":{"auth":"\\u00c0#","asked_auth":"\\u00c2#\\u0005"'
    b',"magic":1,"peer_magic":1,"mru":1500,"peer_mru":1492,"acfc":true,"pfc":true,"local_ip":16'
    b',"peer_ip":16,"dns":[16,16],"login_id":1},"user":"user@","calling_number":"0'
    b'","called_number":"0","tx_speed":1000000,"rx_speed":1000000,"ip":16,"address_source":"pool"'
    b',"routes":[[16,24]],"dns":[16,16],"interim_interval":600,"interim_time":179543'
    b',"up_time":179543,"end_time":179543,"accounting_started":true,"start_time":179543'
    b',"plugin_data":"{\\"'
)


def pack(rows: Iterable[Row]) -> bytes:
    """Octets of rows, however many that are."""
    return deflate(b"\n".join(map(to_json, rows)))


def unpack(data: bytes) -> list[Row]:
    """The rows of octets. Raises ClusterError."""
    rows = []
    text = inflate(data) if data else b""
    for line in text.split(b"\n") if text else ():
        try:
            row = from_json(line)
        except StateError as error:
            raise ClusterError(Refusal.BODY, str(error)) from None
        if not isinstance(row, list) or not row:
            raise ClusterError(Refusal.BODY, "a row is none")
        rows.append(row)
    return rows


def check(rows: Iterable[Row]) -> None:
    """Raise ClusterError for a row that fits into no message."""
    for row in rows:
        line = to_json(row)
        if len(line) > MAX_DEFLATED and (
            len(line) > MAX_ROWS_BYTES or len(deflate(line)) > MAX_DEFLATED
        ):
            raise ClusterError(Refusal.SIZE, "a row is too large")


def packed(rows: Sequence[Row]) -> Iterator[tuple[bytes, int]]:
    """Octets of all rows, in parts that each fit into a message, with how many rows that are.

    A row that fits into none is left out.
    """
    lines = [to_json(row) for row in rows]
    at = 0
    room = ROOM * 4
    while at < len(lines):
        end, size = at, 0
        while end < len(lines) and (end == at or size + len(lines[end]) < room):
            size += len(lines[end]) + 1
            end += 1
        data = deflate(b"\n".join(lines[at:end]))
        while len(data) > ROOM and end > at + 1:
            end = at + max((end - at) * ROOM // (len(data) + 64), 1)
            data = deflate(b"\n".join(lines[at:end]))
        if len(data) <= MAX_DEFLATED and size <= MAX_ROWS_BYTES:
            yield data, end - at
        at = end


def deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS, zdict=LIKELY)
    return compressor.compress(data) + compressor.flush()


def inflate(data: bytes) -> bytes:
    """Raises ClusterError for what is none, or more than MAX_ROWS_BYTES."""
    decompressor = zlib.decompressobj(-zlib.MAX_WBITS, zdict=LIKELY)
    try:
        text = decompressor.decompress(data, MAX_ROWS_BYTES)
    except zlib.error:
        raise ClusterError(Refusal.BODY, "what should be deflated is not") from None
    if not decompressor.eof or decompressor.unused_data:
        raise ClusterError(Refusal.BODY, "what is deflated is too long or cut off")
    return text
