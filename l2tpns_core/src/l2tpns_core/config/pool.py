"""The ip_pool file: an address or a network in each line (manual, "ip_pool").

An address whose last octet is 0 or 255 is never given out, whatever the mask. A line
`ADDRESS:ENTRY` counts only on the server whose bind_address is ADDRESS, so that the members of a
cluster can share a file. Addresses are host-order integers.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import AddressValueError, IPv4Address, IPv4Network
from pathlib import Path
from typing import Final

from l2tpns_core.config.errors import ConfigError, Problem, shown

MAX_FILE_BYTES: Final = 8 << 20
MAX_ADDRESSES: Final = 131_071
"""Addresses that a pool holds; the rest of the file gives none, but its networks are routed."""
MAX_PROBLEMS: Final = 500
MIN_PREFIX_LENGTH: Final = 8
SKIPPED_OCTETS: Final = (0, 255)
THIS_NETWORK: Final = IPv4Network("0.0.0.0/8")
ANY: Final = IPv4Address(0)
EXPECTED: Final = "an IPv4 address or a network such as 192.0.2.0/24"


@dataclass(slots=True)
class PoolFile:
    """What an ip_pool file comes to."""

    addresses: list[int] = field(default_factory=list)
    """To give out, in the order of the file, each once."""
    networks: list[tuple[int, int]] = field(default_factory=list)
    """(network, prefix length) of the lines with a mask: to be routed to the tun device."""
    problems: list[Problem] = field(default_factory=list)
    readable: bool = True
    """False when there was no file to read."""


@dataclass(slots=True, frozen=True)
class PoolEntry:
    """One line: `prefix_length` is None for a single address."""

    network: int
    prefix_length: int | None

    def addresses(self) -> Iterator[int]:
        """The addresses to give out."""
        count = 1 if self.prefix_length is None else 1 << (32 - self.prefix_length)
        for ip in range(self.network, self.network + count):
            if ip & 0xFF not in SKIPPED_OCTETS:
                yield ip


def load_pool(path: str | Path, bind_address: IPv4Address = ANY) -> PoolFile:
    """Read an ip_pool file. A file that cannot be read is a problem, not an exception."""
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        problem = Problem(str(path), 0, f"cannot be read: {error.strerror or error}")
        return PoolFile(problems=[problem], readable=False)
    return parse_pool(data, str(path), bind_address)


def parse_pool(data: bytes, file: str, bind_address: IPv4Address = ANY) -> PoolFile:
    """Evaluate the text of an ip_pool file. Never raises; a bad line is a problem and skipped."""
    result = PoolFile()
    addresses: dict[int, None] = {}
    networks: dict[tuple[int, int], None] = {}
    full = False
    if len(data) > MAX_FILE_BYTES:
        data = data[: data.rfind(b"\n", 0, MAX_FILE_BYTES) + 1]
        result.problems.append(Problem(file, 0, f"only the first {MAX_FILE_BYTES} bytes are read"))
    for number, line in enumerate(data.split(b"\n"), 1):
        try:
            entry = parse_pool_line(line, bind_address)
        except ConfigError as error:
            if len(result.problems) < MAX_PROBLEMS:
                result.problems.append(Problem(file, number, str(error)))
            continue
        if entry is None:
            continue
        if entry.prefix_length is not None:
            networks[entry.network, entry.prefix_length] = None
        if not full and not _add(entry, addresses):
            full = True
            text = f"the pool is full with {MAX_ADDRESSES} addresses, the rest is not used"
            result.problems.append(Problem(file, number, text))
    result.addresses, result.networks = list(addresses), list(networks)
    return result


def parse_pool_line(line: bytes, bind_address: IPv4Address = ANY) -> PoolEntry | None:
    """The entry of a line; None for a comment, an empty line and another server's entry.

    Raises ConfigError.
    """
    text = line.decode("ascii", "backslashreplace").split("#", 1)[0].strip()
    if not text or text.startswith("!"):
        return None
    owner, colon, rest = text.rpartition(":")
    if colon:
        mine = _address(owner) == int(bind_address)
        entry = _entry(rest.strip())
        return entry if mine else None
    return _entry(text)


def _entry(text: str) -> PoolEntry:
    address, slash, mask = text.partition("/")
    ip = _address(address)
    if not slash:
        if ip & 0xFF in SKIPPED_OCTETS:
            raise ConfigError(f"{text} ends in 0 or 255 and is never given out", value=text)
        return PoolEntry(ip, None)
    if not (mask.isascii() and mask.isdigit() and len(mask) <= 2):
        raise ConfigError(f"{shown(text)} is not valid", value=text, expected=EXPECTED)
    length = int(mask)
    if not MIN_PREFIX_LENGTH <= length <= 32:
        expected = f"a mask from /{MIN_PREFIX_LENGTH} to /32"
        raise ConfigError(f"{shown(text)} is not valid", value=text, expected=expected)
    return PoolEntry(ip >> (32 - length) << (32 - length), length)


def _address(text: str) -> int:
    try:
        address = IPv4Address(text.strip())
    except AddressValueError:
        raise ConfigError(f"{shown(text)} is not valid", value=text, expected=EXPECTED) from None
    if (
        address.is_multicast
        or address.is_loopback
        or address.is_reserved
        or address in THIS_NETWORK
    ):
        raise ConfigError(f"{shown(text)} cannot be a subscriber's", value=text, expected=EXPECTED)
    return int(address)


def _add(entry: PoolEntry, addresses: dict[int, None]) -> bool:
    """Add what fits; False when something did not."""
    for ip in entry.addresses():
        if len(addresses) >= MAX_ADDRESSES and ip not in addresses:
            return False
        addresses[ip] = None
    return True
