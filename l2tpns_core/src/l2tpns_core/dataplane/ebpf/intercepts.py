"""Whose packets the kernel copies, and where it sends the copies."""

import socket
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

from l2tpns_core.dataplane.ebpf import layout
from l2tpns_core.dataplane.ebpf.errors import FastPathError
from l2tpns_core.dataplane.ebpf.maps import HashMap
from l2tpns_core.dataplane.plane import Peer

Origin = Callable[[Peer], Peer | None]
"""Where the copies for a target come from, None when that is not known (Interceptor.origin)."""

PORT_MAX: Final = 0xFFFF


class Intercepts:
    """The maps `intercepts` and `targets`."""

    def __init__(self, maps: Mapping[str, int]) -> None:
        """`maps` are descriptors by name."""
        self._intercepts = HashMap(maps["intercepts"], "intercepts")
        self._targets = HashMap(maps["targets"], "targets")
        self.maps = (self._intercepts, self._targets)
        self._target_of: dict[int, bytes] = {}
        self._uses: Counter[bytes] = Counter()
        """How many slots are copied to each target."""

    def replace(self, slot: int, target: Peer | None, origin: Origin) -> bool:
        """Copy the packets of a slot to a target, or no longer to any; False when the kernel
        cannot do that, and user space must."""
        before = self._target_of.get(slot)
        if target is None and before is None:
            return True
        source = None if target is None else origin(target)
        if target is None or source is None or not 0 < target[1] <= PORT_MAX:
            self._remove(slot)
            return target is None
        address, port = socket.inet_aton(target[0]), target[1].to_bytes(2, "big")
        wire = layout.TARGET.pack(address, port)
        try:
            if wire not in self._uses:
                self._targets.update(wire, layout.SLOT.pack(1))
            self._intercepts.update(
                layout.SLOT.pack(slot),
                layout.INTERCEPT.pack(
                    address, socket.inet_aton(source[0]), port, source[1].to_bytes(2, "big")
                ),
            )
        except FastPathError:  # they are full
            if wire not in self._uses:
                self._targets.delete(wire)
            self._remove(slot)
            return False
        self._uses[wire] += 1
        self._target_of[slot] = wire
        if before is not None:
            self._give_up(before)
        return True

    def adopt(self, used: set[int]) -> None:
        """Learn what is in the maps. What is for slots that are not in use goes."""
        for raw_slot, raw in self._intercepts.items():
            slot: int = layout.SLOT.unpack(raw_slot)[0]
            address, _, port, _ = layout.INTERCEPT.unpack(raw)
            wire = layout.TARGET.pack(address, port)
            self._target_of[slot] = wire
            self._uses[wire] += 1
        for slot in self._target_of.keys() - used:
            self._remove(slot)
        for wire, _ in list(self._targets.items()):
            if wire not in self._uses:
                self._targets.delete(wire)

    def _remove(self, slot: int) -> None:
        wire = self._target_of.pop(slot, None)
        if wire is not None:
            self._intercepts.delete(layout.SLOT.pack(slot))
            self._give_up(wire)

    def _give_up(self, wire: bytes) -> None:
        self._uses[wire] -= 1
        if not self._uses[wire]:
            del self._uses[wire]
            self._targets.delete(wire)
