"""Checking a password against what the users file has for it: plain text, or a hash of crypt(3).

Hashes are left to the system's libcrypt, which knows all that the system itself uses. It is called
without Python's lock, so that a hash that is meant to be slow holds up one thread and nothing else.
"""

import ctypes
import enum
import functools
import hashlib
import hmac
import re
from collections.abc import Callable
from typing import Any, Final, cast

MAX_PASSWORD_BYTES: Final = 128
"""More is refused before anything is computed from it."""
CRYPT_PREFIX: Final = "{crypt}"
HASH: Final = re.compile(r"\$(?P<scheme>[0-9a-z-]{1,16})\$[^\s:]+")
SCHEMES: Final = frozenset(("1", "5", "6", "y", "gy", "7", "2a", "2b", "2y"))
DES: Final = re.compile(r"[./0-9A-Za-z]{13}|_[./0-9A-Za-z]{19}")
LOCKED: Final = ("", "*", "!", "!!")
LIBRARIES: Final = ("libcrypt.so.1", "libcrypt.so.2", "libc.musl-x86_64.so.1")
USABLE: Final = (0, 3)
"""CRYPT_SALT_OK and CRYPT_SALT_METHOD_LEGACY of crypt_checksalt(3)."""
CRYPT_DATA_BYTES: Final = 262_144
"""More than any libcrypt's struct crypt_data."""


class HashUnusableError(Exception):
    """An entry that no password can match; the text says why."""


class Kind(enum.Enum):
    """How a password is written down."""

    PLAIN = "plain text"
    HASH = "hash"


class StoredPassword:
    """The password field of one entry. Raises HashUnusableError."""

    __slots__ = ("_stored", "kind")

    def __init__(self, text: str) -> None:
        self.kind, self._stored = _classify(text)

    def __repr__(self) -> str:
        return f"StoredPassword({self.kind.value})"

    @property
    def is_weak(self) -> bool:
        """Whether reading the file is all, or nearly all, that is needed to know the password."""
        return self.kind is Kind.PLAIN or not self._stored.startswith("$") or self._scheme == "1"

    def matches(self, password: str) -> bool:
        """Whether this is the password; takes as long as the hash is meant to take."""
        typed = password.encode("utf-8", "surrogateescape")
        if not typed or len(typed) > MAX_PASSWORD_BYTES or b"\0" in typed:
            return False
        stored = self._stored.encode()
        if self.kind is Kind.HASH:
            return hmac.compare_digest(crypt(typed, stored), stored)
        return hmac.compare_digest(hashlib.sha256(typed).digest(), hashlib.sha256(stored).digest())

    @property
    def _scheme(self) -> str:
        match = HASH.fullmatch(self._stored)
        return match["scheme"] if match is not None else ""


def crypt(password: bytes, setting: bytes) -> bytes:
    """crypt(3): the hash of a password with the scheme and salt of another hash; b"" when the
    library does not know the scheme."""
    function = _library_function("crypt_r")
    if function is None:
        return b""
    data = ctypes.create_string_buffer(CRYPT_DATA_BYTES)
    found = function(password, setting, data)
    result = bytes(found) if found else b""
    return b"" if result.startswith(b"*") else result


def is_usable(setting: bytes) -> bool:
    """Whether crypt() would know what to do with a hash; asks without computing one, where the
    library can be asked."""
    check = _library_function("crypt_checksalt")
    if check is None:
        return can_crypt()
    return check(setting) in USABLE


def can_crypt() -> bool:
    """Whether there is a libcrypt."""
    return _library_function("crypt_r") is not None


@functools.cache
def _library_function(name: str) -> Callable[..., Any] | None:
    signatures: dict[str, tuple[tuple[Any, ...], Any]] = {
        "crypt_r": ((ctypes.c_char_p,) * 3, ctypes.c_char_p),
        "crypt_checksalt": ((ctypes.c_char_p,), ctypes.c_int),
    }
    for library in LIBRARIES:
        try:
            function = getattr(ctypes.CDLL(library), name)
        except (OSError, AttributeError):
            continue
        function.argtypes, function.restype = signatures[name]
        return cast(Callable[..., Any], function)
    return None


def _classify(text: str) -> tuple[Kind, str]:
    if text.startswith(CRYPT_PREFIX):
        stored = text.removeprefix(CRYPT_PREFIX)
        if not (DES.fullmatch(stored) or HASH.fullmatch(stored)):
            raise HashUnusableError("what follows {crypt} is not a hash")
    elif text in LOCKED:
        raise HashUnusableError("there is no password")
    elif HASH.fullmatch(text):
        stored = text
    else:
        return Kind.PLAIN, text
    match = HASH.fullmatch(stored)
    if match is not None and match["scheme"] not in SCHEMES:
        raise HashUnusableError(f"hashes of the kind ${match['scheme']}$ are not known")
    if not is_usable(stored.encode()):
        raise HashUnusableError(
            "the hash is damaged, or of a kind that the system's libcrypt does not know"
            if can_crypt()
            else "there is no libcrypt on this system to check hashes with"
        )
    return Kind.HASH, stored
