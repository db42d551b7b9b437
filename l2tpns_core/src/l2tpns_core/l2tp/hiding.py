"""Hidden AVPs (RFC 2661 section 4.3).

The value goes into a subformat of its own, which is XORed with a chain of MD5 digests:

     0                   1
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5
    +-------------------------------+------------------+-------------+
    | length of the original value  | original value … | padding …   |
    +-------------------------------+------------------+-------------+

The first 16 bytes take MD5(attribute type, secret, random vector), each following 16 bytes take
MD5(secret, the 16 bytes of ciphertext before them).
"""

from hashlib import md5
from typing import Final

from l2tpns_core.l2tp.codes import GeneralError, StopResult
from l2tpns_core.l2tp.errors import L2tpError

BLOCK_BYTES: Final = 16
LENGTH_BYTES: Final = 2


def hide(kind: int, value: bytes, secret: bytes, vector: bytes, padding: bytes = b"") -> bytes:
    """The hidden form of the value of an AVP of type `kind`."""
    plain = len(value).to_bytes(LENGTH_BYTES, "big") + value + padding
    seed = kind.to_bytes(2, "big") + secret + vector
    blocks = []
    for start in range(0, len(plain), BLOCK_BYTES):
        block = _xor(plain[start : start + BLOCK_BYTES], seed)
        blocks.append(block)
        seed = secret + block
    return b"".join(blocks)


def reveal(kind: int, hidden: bytes, secret: bytes, vector: bytes) -> bytes:
    """The value inside hidden bytes. Raises L2tpError when the length inside cannot be true,
    which is also what a wrong secret looks like; it costs one digest to find out."""
    block = hidden[:BLOCK_BYTES]
    blocks = [_xor(block, kind.to_bytes(2, "big") + secret + vector)]
    length = int.from_bytes(blocks[0][:LENGTH_BYTES], "big")
    end = LENGTH_BYTES + length
    if end > len(hidden):
        raise L2tpError(
            StopResult.GENERAL_ERROR,
            GeneralError.WRONG_LENGTH,
            f"hidden AVP {kind} cannot be read, the secret may be wrong",
        )
    for start in range(BLOCK_BYTES, end, BLOCK_BYTES):
        seed = secret + block
        block = hidden[start : start + BLOCK_BYTES]
        blocks.append(_xor(block, seed))
    return b"".join(blocks)[LENGTH_BYTES:end]


def _xor(block: bytes, seed: bytes) -> bytes:
    """One block with the digest of its seed."""
    size = len(block)
    pad = md5(seed, usedforsecurity=False).digest()[:size]
    mixed = int.from_bytes(block, "big") ^ int.from_bytes(pad, "big")
    return mixed.to_bytes(size, "big")
