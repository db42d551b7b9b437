"""Checks of text values that must have a form."""

import re
from ipaddress import AddressValueError, IPv4Address
from typing import Final
from urllib.parse import urlsplit

from l2tpns_core.config.errors import ConfigError
from l2tpns_core.observe.syslog import FACILITIES, SYSLOG_PREFIX

AUTHTYPES: Final = ("pap", "chap", "mschapv2")
MAX_SOCKET_PATH_BYTES: Final = 107
MAX_DEVICE_NAME_BYTES: Final = 15
INTERFACE_NAME: Final = re.compile(r"[^\s/:]*")
HOST_NAME: Final = re.compile(r"[^\s/]*")
PREFIX: Final = re.compile(r"[!-~]{1,128}")
SEPARATORS: Final = re.compile(r"[,\s]+")

LOG_FILE_EXPECTED: Final = 'a file name or "syslog:FACILITY", for instance syslog:local5'
AUTHTYPES_EXPECTED: Final = f"a list of {', '.join(AUTHTYPES)}, the preferred one first"
PATH_EXPECTED: Final = "an absolute path"
SOCKET_EXPECTED: Final = f"an absolute path of at most {MAX_SOCKET_PATH_BYTES} bytes"
MAX_RESTART_S: Final = 4_095
GRACEFUL_EXPECTED: Final = f"auto, or 0 to {MAX_RESTART_S} seconds"
ADDRESSES_EXPECTED: Final = "IPv4 addresses, separated by commas"
DEVICE_EXPECTED: Final = f"an interface name of at most {MAX_DEVICE_NAME_BYTES} characters"
DEVICES_EXPECTED: Final = "names of interfaces, with commas between them"
ENDPOINTS_EXPECTED: Final = "http://HOST:PORT or https://HOST:PORT, with commas between them"
PREFIX_EXPECTED: Final = "printable ASCII without blanks, of 1 to 128 characters"
MAX_ENDPOINTS: Final = 16
ETCD_PORT: Final = 2379
HOST_EXPECTED: Final = "a name without blanks"


def check_log_file(text: str) -> str:
    """A path, or syslog: and one of its facilities."""
    if text.startswith(SYSLOG_PREFIX) and text.removeprefix(SYSLOG_PREFIX) not in FACILITIES:
        raise ConfigError("not a facility")
    return text


def check_authtypes(text: str) -> str:
    """The list in one form: `chap, pap`; a name that is repeated counts once."""
    names = list(dict.fromkeys(name for name in SEPARATORS.split(text.lower()) if name))
    if not names or any(name not in AUTHTYPES for name in names):
        raise ConfigError("not a list of authentication types")
    return ", ".join(names)


def check_path(text: str) -> str:
    """An absolute path, or nothing."""
    if text and not text.startswith("/"):
        raise ConfigError("not absolute")
    return text


def check_directory(text: str) -> str:
    """An absolute path."""
    if not text.startswith("/"):
        raise ConfigError("not absolute")
    return text


def check_socket_path(text: str) -> str:
    """A path that fits into a Unix socket address."""
    if not text.startswith("/") or len(text.encode()) > MAX_SOCKET_PATH_BYTES:
        raise ConfigError("not a socket path")
    return text


def check_device_name(text: str) -> str:
    """A name that the kernel takes for an interface, or nothing."""
    if text in (".", "..") or len(text.encode()) > MAX_DEVICE_NAME_BYTES:
        raise ConfigError("not an interface name")
    if not INTERFACE_NAME.fullmatch(text):
        raise ConfigError("not an interface name")
    return text


def check_device_names(text: str) -> str:
    """The list in one form: `eth0, eth1`; a name that is repeated counts once."""
    names = list(dict.fromkeys(name for name in SEPARATORS.split(text) if name))
    return ", ".join(check_device_name(name) for name in names)


def check_addresses(text: str) -> str:
    """IPv4 addresses, separated by commas or spaces."""
    names = list(dict.fromkeys(name for name in SEPARATORS.split(text) if name))
    try:
        return ", ".join(str(IPv4Address(name)) for name in names)
    except AddressValueError:
        raise ConfigError("not a list of addresses") from None


def check_graceful_restart(text: str) -> str:
    """A time that fits into the capability (RFC 4724 section 3), or auto."""
    if text.lower() == "auto":
        return "auto"
    if not (text.isascii() and text.isdigit()) or int(text) > MAX_RESTART_S:
        raise ConfigError("not a time")
    return str(int(text))


def check_host_name(text: str) -> str:
    """A name that can stand in a prompt, an AVP and a CHAP packet, or nothing."""
    if not HOST_NAME.fullmatch(text):
        raise ConfigError("not a host name")
    return text


def check_endpoints(text: str) -> str:
    """URLs of etcd."""
    try:
        endpoints_of(text)
    except ValueError:
        raise ConfigError("not a list of endpoints") from None
    return text


def endpoints_of(text: str) -> tuple[str, ...]:
    """URLs of etcd, each with its port. Raises ValueError."""
    found = []
    for word in filter(None, SEPARATORS.split(text)):
        url = urlsplit(word if "://" in word else f"http://{word}")
        if url.scheme not in ("http", "https") or not url.hostname or url.path not in ("", "/"):
            raise ValueError(word)
        host = f"[{url.hostname}]" if ":" in url.hostname else url.hostname
        found.append(f"{url.scheme}://{host}:{url.port or ETCD_PORT}")
    if len(found) > MAX_ENDPOINTS:
        raise ValueError(text)
    return tuple(found)


def check_prefix(text: str) -> str:
    """What keys of etcd can begin with."""
    if not PREFIX.fullmatch(text):
        raise ConfigError("not a prefix")
    return text
