"""A handful of eBPF instructions, as the kernel reads them, with labels for jumps."""

import struct
from typing import Final

R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10 = range(11)

BYTE, HALF, WORD, DOUBLE = 0x10, 0x08, 0x00, 0x18
"""Sizes of loads and stores."""
SIZES: Final = {8: DOUBLE, 4: WORD, 2: HALF, 1: BYTE}

MAP_LOOKUP: Final = 1
KTIME_GET_NS: Final = 5
PRANDOM_U32: Final = 7

_LDX, _ST, _STX, _JMP, _ALU64 = 0x61, 0x62, 0x63, 0x05, 0x07
_ABS: Final = 0x20
_PSEUDO_MAP_FD: Final = 1
_PSEUDO_MAP_VALUE: Final = 2
_ADD, _SUB, _AND, _MOD, _MOV = 0x00, 0x10, 0x50, 0x90, 0xB0
_JUMPS: Final = {"==": 0x10, ">": 0x20, ">=": 0x30, "!=": 0x50, "<": 0xA0, "<=": 0xB0}


class Program:
    """Instructions in order; `code()` is what bpf(2) takes."""

    def __init__(self) -> None:
        self._instructions: list[bytes] = []
        self._labels: dict[str, int] = {}
        self._jumps: dict[int, tuple[int, int, int, int, str]] = {}

    def _add(
        self, operation: int, target: int = 0, source: int = 0, offset: int = 0, value: int = 0
    ) -> None:
        self._instructions.append(
            struct.pack("=BBhi", operation, source << 4 | target, offset, value)
        )

    def _wide(self, target: int, source: int, low: int, high: int) -> None:
        """One of the instructions that are two long."""
        self._instructions.append(struct.pack("=BBhI", 0x18, source << 4 | target, 0, low))
        self._instructions.append(struct.pack("=BBhI", 0, 0, 0, high))

    def label(self, name: str) -> None:
        """The place that jumps to `name` lead to."""
        self._labels[name] = len(self._instructions)

    def move(self, target: int, source: int) -> None:
        self._add(_ALU64 | _MOV | 0x08, target, source)

    def set(self, target: int, value: int) -> None:
        """Any number of 64 bits."""
        if -(1 << 31) <= value < 1 << 31:
            self._add(_ALU64 | _MOV, target, value=value)
        else:
            self._wide(target, 0, value & 0xFFFFFFFF, value >> 32 & 0xFFFFFFFF)

    def add(self, target: int, source: int) -> None:
        self._add(_ALU64 | _ADD | 0x08, target, source)

    def add_value(self, target: int, value: int) -> None:
        self._add(_ALU64 | _ADD, target, value=value)

    def subtract(self, target: int, source: int) -> None:
        self._add(_ALU64 | _SUB | 0x08, target, source)

    def mask(self, target: int, value: int) -> None:
        self._add(_ALU64 | _AND, target, value=value)

    def modulo(self, target: int, source: int) -> None:
        self._add(_ALU64 | _MOD | 0x08, target, source)

    def load(self, size: int, target: int, base: int, offset: int = 0) -> None:
        self._add(_LDX | size, target, base, offset)

    def store(self, size: int, base: int, offset: int, source: int) -> None:
        self._add(_STX | size, base, source, offset)

    def store_value(self, size: int, base: int, offset: int, value: int) -> None:
        self._add(_ST | size, base, 0, offset, value)

    def load_packet(self, size: int, offset: int) -> None:
        """Into R0, in host order, from a packet whose skb is in R6; ends the program with 0 when
        the packet is shorter. R1 to R5 are lost."""
        self._add(_ABS | size, value=offset)

    def map(self, target: int, descriptor: int) -> None:
        """A map, for helpers."""
        self._wide(target, _PSEUDO_MAP_FD, descriptor, 0)

    def map_value(self, target: int, descriptor: int) -> None:
        """The address of an array map's first element."""
        self._wide(target, _PSEUDO_MAP_VALUE, descriptor, 0)

    def call(self, helper: int) -> None:
        self._add(0x85, value=helper)

    def jump_if(self, left: int, relation: str, right: int, label: str) -> None:
        """If a register stands in a relation to another one (without signs)."""
        self._jump(_JMP | 0x08 | _JUMPS[relation], left, right, 0, label)

    def jump_if_value(self, left: int, relation: str, value: int, label: str) -> None:
        self._jump(_JMP | _JUMPS[relation], left, 0, value, label)

    def jump(self, label: str) -> None:
        self._jump(_JMP, 0, 0, 0, label)

    def exit(self, value: int) -> None:
        self.set(R0, value)
        self._add(0x95)

    def code(self) -> bytes:
        """All of it, jumps resolved. Raises KeyError for a label that is nowhere."""
        found = list(self._instructions)
        for at, (operation, left, right, value, label) in self._jumps.items():
            offset = self._labels[label] - at - 1
            found[at] = struct.pack("=BBhi", operation, right << 4 | left, offset, value)
        return b"".join(found)

    def _jump(self, operation: int, left: int, right: int, value: int, label: str) -> None:
        self._jumps[len(self._instructions)] = (operation, left, right, value, label)
        self._add(0)
