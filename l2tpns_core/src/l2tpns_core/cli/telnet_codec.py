"""Telnet (RFC 854, 855): what of a client's bytes is typed text, and what is said about options.

Bytes in, bytes out. The options are our echo (RFC 857), no go-ahead (RFC 858) and the size of the
client's window (RFC 1073); all others are refused. A command is answered with at most as many
bytes as it has, and nothing of a client's is kept but MAX_SUBNEGOTIATION_BYTES.
"""

import enum
from typing import Final

MAX_SUBNEGOTIATION_BYTES: Final = 64

SE: Final = 240
BREAK: Final = 243
INTERRUPT_PROCESS: Final = 244
ERASE_CHARACTER: Final = 247
ERASE_LINE: Final = 248
SB: Final = 250
WILL: Final = 251
WONT: Final = 252
DO: Final = 253
DONT: Final = 254
IAC: Final = 255

ECHO: Final = 1
SUPPRESS_GO_AHEAD: Final = 3
NAWS: Final = 31

OURS: Final = frozenset((ECHO, SUPPRESS_GO_AHEAD))
THEIRS: Final = frozenset((SUPPRESS_GO_AHEAD, NAWS))
AS_KEYS: Final = {
    BREAK: b"\x03",
    INTERRUPT_PROCESS: b"\x03",
    ERASE_CHARACTER: b"\x7f",
    ERASE_LINE: b"\x15",
}


class _State(enum.Enum):
    """What the next byte is."""

    TEXT = enum.auto()
    COMMAND = enum.auto()
    OPTION = enum.auto()
    SUBNEGOTIATION = enum.auto()
    SUBNEGOTIATION_COMMAND = enum.auto()


class TelnetCodec:
    """One client's side of the protocol."""

    def __init__(self) -> None:
        self.is_telnet = False
        """The client has sent a command of the protocol."""
        self.echoes = False
        """The client leaves echo to us: it sends every key as it is pressed."""
        self.window: tuple[int, int] | None = None
        """Width and height as the client last told them; 0 is not known."""
        self._state = _State.TEXT
        self._verb = 0
        self._subnegotiation = bytearray()
        self._ours: set[int] = set()
        self._theirs: set[int] = set()
        self._replies = bytearray()

    def offer(self) -> None:
        """Ask for everything that makes the shell comfortable."""
        for option in sorted(OURS - self._ours):
            self._ours.add(option)
            self._say(WILL, option)
        for option in sorted(THEIRS - self._theirs):
            self._theirs.add(option)
            self._say(DO, option)

    def take_replies(self) -> bytes:
        """What is to be sent."""
        replies = bytes(self._replies)
        self._replies.clear()
        return replies

    def receive(self, data: bytes) -> bytes:
        """The typed text in what a client sent; its interrupt and erase commands as keys."""
        text = bytearray()
        position = 0
        while position < len(data):
            if self._state is _State.TEXT:
                end = data.find(IAC, position)
                if end < 0:
                    text += data[position:]
                    break
                text += data[position:end]
                self._state = _State.COMMAND
                position = end + 1
                continue
            text += self._step(data[position])
            position += 1
        return bytes(text)

    def _step(self, byte: int) -> bytes:
        """One byte of a command; returns text that it stands for."""
        match self._state:
            case _State.COMMAND:
                return self._command(byte)
            case _State.OPTION:
                self._state = _State.TEXT
                self._negotiate(self._verb, byte)
            case _State.SUBNEGOTIATION:
                if byte == IAC:
                    self._state = _State.SUBNEGOTIATION_COMMAND
                else:
                    self._keep(byte)
            case _State.SUBNEGOTIATION_COMMAND:
                self._state = _State.SUBNEGOTIATION
                if byte == SE:
                    self._state = _State.TEXT
                    self._end_subnegotiation()
                elif byte == IAC:
                    self._keep(byte)
        return b""

    def _command(self, byte: int) -> bytes:
        self._state = _State.TEXT
        if byte == IAC:
            return b"\xff"
        self.is_telnet = True
        if byte in (WILL, WONT, DO, DONT):
            self._verb = byte
            self._state = _State.OPTION
        elif byte == SB:
            self._subnegotiation.clear()
            self._state = _State.SUBNEGOTIATION
        return AS_KEYS.get(byte, b"")

    def _negotiate(self, verb: int, option: int) -> None:
        if verb == DO:
            if option not in OURS:
                self._say(WONT, option)
            elif option not in self._ours:
                self._ours.add(option)
                self._say(WILL, option)
            self.echoes = self.echoes or option == ECHO
        elif verb == DONT:
            if option in self._ours:
                self._ours.discard(option)
                self._say(WONT, option)
            self.echoes = self.echoes and option != ECHO
        elif verb == WILL:
            if option not in THEIRS:
                self._say(DONT, option)
            elif option not in self._theirs:
                self._theirs.add(option)
                self._say(DO, option)
        elif option in self._theirs:
            self._theirs.discard(option)
            self._say(DONT, option)

    def _end_subnegotiation(self) -> None:
        content = self._subnegotiation
        if len(content) == 5 and content[0] == NAWS:
            self.window = content[1] << 8 | content[2], content[3] << 8 | content[4]
        content.clear()

    def _keep(self, byte: int) -> None:
        if len(self._subnegotiation) < MAX_SUBNEGOTIATION_BYTES:
            self._subnegotiation.append(byte)

    def _say(self, verb: int, option: int) -> None:
        self._replies += bytes((IAC, verb, option))
