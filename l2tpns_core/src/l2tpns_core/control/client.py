"""The command `nsctl`: sends one request to a daemon and prints the answer.

It works with this daemon and with every l2tpns since 2.0.8.
"""

import getopt
import io
import os
import re
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address
from pathlib import Path
from typing import Final, TextIO

from l2tpns_core.control import seal, wire
from l2tpns_core.control.wire import Fault, Kind, Outcome, Reply, WireError

DEFAULT_HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 1702
DEFAULT_TIMEOUT_S: Final = 2.0
SECRET_VARIABLE: Final = "NSCTL_SECRET"

BUILT_IN: Final = {"load_plugin": Kind.LOAD, "unload_plugin": Kind.UNLOAD, "help": Kind.HELP}
OLD_COMMANDS: Final = ("garden", "ungarden")
"""What `nsctl HOST COMMAND` could send when that was its only form."""
SERVER_COMMANDS: Final = ("drop", "kill", "throttle", "unthrottle", "snoop", "unsnoop")
KNOWN: Final = frozenset((*BUILT_IN, *OLD_COMMANDS, *SERVER_COMMANDS))

USAGE: Final = """\
Usage: nsctl [-d] [-h HOST[:PORT]] [-t SECONDS] [-s FILE] COMMAND [ARG ...]
       nsctl HOST[:PORT] COMMAND [ARG ...]

  -h HOST[:PORT]  Where l2tpns is; without it 127.0.0.1:1702
  -t SECONDS      How long to wait for an answer, 0 for ever; without it 2
  -s FILE         A file with the daemon's nsctl_secret; or set NSCTL_SECRET
  -d              Show the packets
  --help          Show this

`nsctl help` lists the commands.
"""

BUILT_IN_HELP: Final = """\
Available commands:
  load_plugin PLUGIN                          Load named plugin
  unload_plugin PLUGIN                        Unload named plugin
  help                                        List available commands
"""

_HOST_LIKE: Final = re.compile(r"[\w-]+(\.[\w-]+)+\.?|localhost", re.ASCII)


class UsageError(Exception):
    """The command line makes no sense; the text says why, or is empty."""


class ClientError(Exception):
    """The request could not be sent or was not answered; the text says why."""


@dataclass(slots=True)
class Options:
    """The command line."""

    host: str
    port: int
    timeout_s: float
    """0 waits for ever."""
    secret: bytes
    debug: bool
    words: Sequence[str]
    """The command and its arguments."""


def main() -> None:
    """Entry point of the console script."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal may not know every letter
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Do what the command line says; returns the exit status."""
    if "--help" in arguments[:1]:
        sys.stdout.write(USAGE)
        return 0
    try:
        options = parse(arguments)
        if options.words[0] == "help":
            sys.stdout.write(BUILT_IN_HELP)
            sys.stdout.flush()
        reply = exchange(options)
    except UsageError as error:
        if str(error):
            _complain(str(error))
        sys.stderr.write(USAGE)
        return 1
    except ClientError as error:
        _complain(str(error))
        return 1
    except KeyboardInterrupt:
        return 130
    is_ok = reply.outcome is Outcome.OK
    for line in reply.lines:
        _print(line, sys.stdout if is_ok else sys.stderr)
    return 0 if is_ok else 1


def parse(arguments: Sequence[str]) -> Options:
    """Raises UsageError and ClientError."""
    try:
        given, words = getopt.getopt(list(arguments), "dh:t:s:")
    except getopt.GetoptError as error:
        raise UsageError(str(error)) from None
    flags = dict(given)
    where = flags.get("-h", "")
    if not where and names_a_host(words):
        where, words = words[0], words[1:]
    if not words:
        raise UsageError("")
    host, port = split_host(where or DEFAULT_HOST)
    return Options(
        host=host,
        port=port,
        timeout_s=_seconds(flags.get("-t")),
        secret=read_secret(flags.get("-s", "")),
        debug="-d" in flags,
        words=words,
    )


def names_a_host(words: Sequence[str]) -> bool:
    """Whether the first word is a host, as in the manual's `nsctl HOST COMMAND ARG...`.

    It is when it looks like one, or when only the second word is a command that is known. Where
    that is not what is meant, -h settles it.
    """
    if len(words) < 2 or words[0] in KNOWN:
        return False
    host, colon, port = words[0].rpartition(":")
    if colon and host and port.isascii() and port.isdigit():
        return True
    return words[1] in KNOWN or _HOST_LIKE.fullmatch(words[0]) is not None


def split_host(text: str) -> tuple[str, int]:
    """HOST and PORT of HOST[:PORT]. Raises ClientError."""
    host, colon, number = text.rpartition(":")
    if not colon:
        return text, DEFAULT_PORT
    if not number.isascii() or not number.isdigit() or not 0 < int(number[:6]) <= 65_535:
        raise ClientError(f"invalid port `{number}'")
    return host or DEFAULT_HOST, int(number)


def read_secret(path: str) -> bytes:
    """The first line of a file, else what the environment says. Raises ClientError."""
    if not path:
        return os.environb.get(SECRET_VARIABLE.encode(), b"")
    try:
        lines = Path(path).read_bytes().splitlines()
    except OSError as error:
        raise ClientError(f"cannot read the secret from {path} ({error.strerror})") from error
    if not lines or not lines[0].strip():
        raise ClientError(f"no secret in {path}")
    return lines[0].strip()


def encode(words: Sequence[str]) -> bytes:
    """The request for a command and its arguments. Raises ClientError."""
    kind = BUILT_IN.get(words[0])
    try:
        if kind is None:
            return wire.encode_request(Kind.CONTROL, words)
        return wire.encode_request(kind, words[1:])
    except WireError as error:
        raise ClientError(f"error packing request ({error})") from error


def exchange(options: Options) -> Reply:
    """Send the request, once, and wait for the answer. Raises ClientError."""
    packet, nonce = encode(options.words), os.urandom(seal.NONCE_BYTES)
    if options.secret:
        packet = seal.seal_request(packet, options.secret, nonce, time.time())
    address = resolve(options.host)
    try:
        connection = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    except OSError as error:
        raise ClientError(f"can't create udp socket ({error.strerror})") from error
    with connection:
        _attempt("udp connect failed", lambda: connection.connect((address, options.port)))
        if options.debug:
            _dump("Sending", packet)
        _attempt("error sending request", lambda: connection.send(packet))
        answer = _receive(connection, options.timeout_s)
    if options.debug:
        _dump("Received", answer)
    return decode(answer, options.secret, nonce)


def resolve(host: str) -> str:
    """The IPv4 address of a host. Raises ClientError."""
    try:
        return str(IPv4Address(host))
    except AddressValueError:
        pass
    try:
        found = socket.getaddrinfo(host, None, socket.AF_INET, socket.SOCK_DGRAM)
    except (OSError, UnicodeError) as error:
        raise ClientError(f"invalid host `{host}'") from error
    return str(found[0][4][0])


def decode(answer: bytes, secret: bytes, nonce: bytes) -> Reply:
    """The reply in an answer. Raises ClientError, also when the answer should be sealed and is
    not."""
    try:
        if not secret:
            return wire.decode_reply(answer)
        if seal.is_sealed(answer):
            return wire.decode_reply(seal.open_reply(answer, secret, nonce))
        reply = wire.decode_reply(answer)
    except WireError as error:
        raise ClientError(f"error receiving response ({error})") from error
    said = reply.lines[0] if reply.lines else reply.outcome.name
    raise ClientError(f"error receiving response ({Fault.NOT_SEALED.value}; it says: {said})")


def _receive(connection: socket.socket, timeout_s: float) -> bytes:
    connection.settimeout(timeout_s or None)
    try:
        return connection.recv(seal.MAX_SEALED + 1)
    except TimeoutError:
        raise ClientError("error receiving response (timed out)") from None
    except OSError as error:
        raise ClientError(f"error receiving response ({error.strerror})") from error


def _attempt(what: str, action: Callable[[], object]) -> None:
    try:
        action()
    except OSError as error:
        raise ClientError(f"{what} ({error.strerror})") from error


def _seconds(text: str | None) -> float:
    if text is None:
        return DEFAULT_TIMEOUT_S
    if not re.fullmatch(r"\d{1,6}(\.\d{1,3})?", text, re.ASCII):
        raise UsageError(f"invalid timeout `{text}'")
    return float(text)


def _dump(title: str, packet: bytes) -> None:
    sys.stderr.write(f"{title} {len(packet)} bytes:\n")
    for at in range(0, len(packet), 16):
        row = packet[at : at + 16]
        text = "".join(chr(octet) if 32 <= octet < 127 else "." for octet in row)
        sys.stderr.write(f"  {at:04x}  {row.hex(' '):<47}  {text}\n")


def _complain(text: str) -> None:
    _print(text, sys.stderr, prefix="nsctl: ")


def _print(text: str, stream: TextIO, prefix: str = "") -> None:
    """Write a line; what the server says must not move the cursor of the terminal."""
    shown = "".join(char if char.isprintable() or char == "\t" else "?" for char in text)
    stream.write(f"{prefix}{shown}\n")


if __name__ == "__main__":
    main()
