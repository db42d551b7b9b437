"""The fast path as its user sees it: sessions in, counters out, programs on interfaces.

Everything here is synchronous and short: a session is installed with two system calls of some
microseconds, and its counters are read from memory. Nothing waits for packets.
"""

import secrets
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from l2tpns_core.dataplane.ebpf import layout
from l2tpns_core.dataplane.ebpf.attach import (
    Attachment,
    Direction,
    Method,
    attach,
    detach,
    leftovers,
    release,
)
from l2tpns_core.dataplane.ebpf.filters import KernelFilters
from l2tpns_core.dataplane.ebpf.intercepts import Origin
from l2tpns_core.dataplane.ebpf.libbpf import unpin_link
from l2tpns_core.dataplane.ebpf.loader import Loaded, load, remove_pins
from l2tpns_core.dataplane.ebpf.maps import Map, PerCpuSums, possible_cpus
from l2tpns_core.dataplane.ebpf.table import ASK, NEVER, NextHop, SessionTable
from l2tpns_core.dataplane.plane import SessionCounters, SessionRoute

MAX_SESSIONS: Final = 65535
MAX_NETWORKS: Final = 8192
MAX_INTERCEPTS: Final = 1024
FEWEST_BLOCKS: Final = 64
SESSIONS_PER_BLOCK: Final = 64
"""A quarter of what fits: so much may the addresses of sessions be scattered before some of them
need the slower map."""
COUNTERS_BATCH: Final = 512
COOKIES: Final = 0xFFFFFFFF
ONLY_ENTRY: Final = bytes(4)
NANOSECONDS: Final = 1_000_000_000


@dataclass(slots=True, frozen=True)
class FastPathOptions:
    """What must be known before anything is loaded."""

    max_sessions: int = MAX_SESSIONS
    max_networks: int = MAX_NETWORKS
    """Framed-Routes of all sessions; one too many leaves its session to user space."""
    max_intercepts: int = MAX_INTERCEPTS
    """Sessions whose packets the kernel copies; user space does it for more."""
    l2tp_port: int = 1701
    local: str = ""
    """The address that packets to LACs come from where a route names none."""
    pins: Path | None = None
    """A directory of a bpffs where programs and maps outlive this process; None for no pins."""
    method: Method = Method.AUTO


@dataclass(slots=True)
class Statistics:
    """What the fast path did since its maps were made."""

    outcomes: dict[str, int]
    """By the names of layout.TRAFFIC and layout.OUTCOMES."""
    sessions: int
    max_sessions: int
    memory: dict[str, int]
    """Bytes of each map."""
    programs: dict[str, tuple[int, int]]
    """Bytes of each program, as verified and as compiled to machine code."""
    interfaces: dict[int, str] = field(default_factory=dict)
    """How the program for upward packets is attached, by interface."""

    @property
    def hits(self) -> int:
        return self.outcomes["up_forwarded"] + self.outcomes["down_forwarded"]

    @property
    def punts(self) -> dict[str, int]:
        """Packets left to user space, by direction and reason."""
        return self._group("punt")

    @property
    def drops(self) -> dict[str, int]:
        return self._group("drop")

    def _group(self, kind: str) -> dict[str, int]:
        mark = f"_{kind}_"
        return {
            name.replace(mark, " "): count for name, count in self.outcomes.items() if mark in name
        }


class FastPath:
    """The programs, with sessions. Methods raise FastPathError where the kernel refuses."""

    def __init__(self, loaded: Loaded, options: FastPathOptions) -> None:
        """Use open()."""
        self.options = options
        self.adopted = loaded.adopted
        """Whether the sessions of an earlier process were taken over; keys() names them."""
        self._loaded = loaded
        self._settings = Map(loaded.maps["settings"], "settings")
        self._ways = Map(loaded.maps["ways"], "ways")
        self._traffic = PerCpuSums(loaded.maps["traffic"], "traffic")
        self._statistics = PerCpuSums(loaded.maps["statistics"], "statistics")
        self._table = SessionTable(loaded.maps, options.local)
        self._attached: dict[int, Attachment] = {}
        self._networks: dict[int, Attachment] = {}
        self._tun: Attachment | None = None
        self._tun_index = 0
        self._direct_until = 0
        self._many_paths = True
        self._closed = False
        self._cookie = secrets.randbelow(COOKIES) + 1
        if loaded.adopted:
            self._table.adopt()

    @classmethod
    def open(cls, options: FastPathOptions) -> Self:
        """Load the programs; adopt the sessions that are pinned."""
        sessions = max(1, min(options.max_sessions, MAX_SESSIONS))
        blocks = min(sessions, max(FEWEST_BLOCKS, sessions // SESSIONS_PER_BLOCK))
        entries = {
            "directory": blocks,
            "blocks": blocks,
            "addresses": sessions,
            "networks": max(1, options.max_networks),
            "filters": sessions,
            "intercepts": max(1, options.max_intercepts),
            "targets": max(1, options.max_intercepts),
            "sessions": (sessions + 1) * possible_cpus(),
            "lacs": sessions + 1,
            "totals": (sessions + 1) * possible_cpus(),
            "details": sessions + 1,
        }
        return cls(load(entries, options.pins), options)

    # Interfaces

    def attach_tun(self, ifindex: int) -> None:
        """Put upward packets into a TUN device, and take downward ones from it."""
        self._tun_index = ifindex
        self._write_settings()
        if self._tun is not None and self._tun.ifindex != ifindex:
            detach(self._tun, self.options.pins)
            self._tun = None
        if self._tun is None:
            self._tun = self._attach(Direction.DOWN, ifindex)

    def attach(self, ifindex: int) -> None:
        """Take what LACs send to an interface. Nothing happens when that is so already."""
        if ifindex in self._attached:
            return
        also_network = ifindex in self._networks
        self.detach_network(ifindex)  # or it would look at the packets first
        self._attached[ifindex] = self._attach(Direction.UP, ifindex)
        if also_network:
            self.attach_network(ifindex)

    def detach(self, ifindex: int) -> None:
        """Leave an interface alone; nothing happens when it is gone."""
        attachment = self._attached.pop(ifindex, None)
        if attachment is not None:
            detach(attachment, self.options.pins)

    def remove_leftovers(self) -> list[int]:
        """Detach what an earlier process attached and this one did not; return the interfaces."""
        pins, removed = self.options.pins, []
        for direction, ifindex in leftovers(pins) if pins is not None else ():
            ours = {
                Direction.UP: self._attached.get(ifindex),
                Direction.DOWN: self._tun,
                Direction.IN: self._networks.get(ifindex),
            }[direction]
            if pins is not None and (ours is None or ours.ifindex != ifindex):
                unpin_link(pins / f"{direction.value}-{ifindex}")
                removed.append(ifindex)
        return removed

    def attach_network(self, ifindex: int) -> None:
        """Take packets for subscribers from an interface, while direct() allows it."""
        if ifindex not in self._networks:
            self._networks[ifindex] = self._attach(Direction.IN, ifindex)

    def detach_network(self, ifindex: int) -> None:
        """Leave an interface alone; nothing happens when it is gone."""
        attachment = self._networks.pop(ifindex, None)
        if attachment is not None:
            detach(attachment, self.options.pins)

    def networks(self) -> set[int]:
        """The interfaces of attach_network()."""
        return set(self._networks)

    def direct(self, until: float, *, many_paths: bool = True) -> None:
        """Let packets pass by the IP stack until a time of time.monotonic(); 0 for no longer. It
        is short: when nobody is there to look, the stack is what is safe. `many_paths`: a route may
        have several next hops, so that who sends makes a difference."""
        self._many_paths = many_paths
        self._direct_until = int(until * NANOSECONDS)
        self._write_settings()

    def _write_settings(self) -> None:
        settings = layout.SETTINGS.pack(
            self._tun_index,
            self._table.size + 1,
            struct.pack(">H", self.options.l2tp_port),
            layout.LAYOUT,
            self._cookie,
            self._many_paths,
            self._direct_until,
        )
        self._settings.update(ONLY_ENTRY, settings)

    # Sessions

    @property
    def filters(self) -> KernelFilters:
        """The access lists of sessions."""
        return self._table.filters

    @property
    def copies_from(self) -> Origin:
        """Says where the copies of intercepted sessions come from; without it the kernel copies
        none, and these sessions go through user space."""
        return self._table.copies_from

    @copies_from.setter
    def copies_from(self, origin: Origin) -> None:
        self._table.copies_from = origin

    def install(self, route: SessionRoute, hop: NextHop = ASK) -> None:
        """Add a session or replace what is known of it; its counters go on."""
        self._table.install_many(((route, hop),))

    def install_many(self, routes: Iterable[tuple[SessionRoute, NextHop]]) -> None:
        """install() for many, with a few system calls for thousands."""
        self._table.install_many(routes)

    def remove(self, key: int) -> SessionCounters:
        """Forget a session and return its final counters (zeros when it was not there)."""
        return self._table.remove_many((key,)).get(key, NEVER)

    def remove_many(self, keys: Iterable[int]) -> dict[int, SessionCounters]:
        """Forget sessions; return the final counters of those that were there."""
        return self._table.remove_many(keys)

    def keys(self) -> list[int]:
        """The keys of all sessions."""
        return list(self._table.slots)

    def __len__(self) -> int:
        return len(self._table.slots)

    def counters(self, key: int) -> SessionCounters:
        """The counters of one session so far."""
        slot = self._table.slots.get(key)
        return NEVER if slot is None else self._table.read(slot)

    def throttled(self, key: int) -> tuple[int, int]:
        """Packets of a session that its throttle dropped: from and to the subscriber."""
        slot = self._table.slots.get(key)
        return (0, 0) if slot is None else self._table.throttled(slot)

    def counters_of_all(self, batch: int = COUNTERS_BATCH) -> Iterator[dict[int, SessionCounters]]:
        """The counters of all sessions, so many at a time: a loop may do other work between."""
        return self._table.read_all(batch)

    # All of it

    def statistics(self) -> Statistics:
        """What `show dataplane` has to say."""
        return Statistics(
            outcomes=dict(
                zip(
                    layout.TRAFFIC + layout.OUTCOMES,
                    self._traffic.sums() + self._statistics.sums(),
                    strict=True,
                )
            ),
            sessions=len(self),
            max_sessions=self._table.size,
            memory={
                each.name: each.memory()
                for each in (*self._table.maps, self._ways, self._traffic, self._statistics)
            },
            programs=self._loaded.program_sizes(),
            interfaces={index: made.method.value for index, made in self._attached.items()},
        )

    def close(self, *, keep: bool = False) -> None:
        """End. With `keep`, what is pinned goes on forwarding, and another process may adopt it;
        without, nothing stays."""
        if self._closed:
            return
        self._closed = True
        pins = self.options.pins
        attachments = [*self._attached.values(), *self._networks.values()]
        attachments += [self._tun] if self._tun else []
        self._attached.clear()
        self._networks.clear()
        self._tun = None
        for attachment in attachments:
            if keep and pins is not None:
                release(attachment)
            else:
                detach(attachment, pins)
        if pins is not None and not keep:
            remove_pins(pins)
        self._table.close()
        self._loaded.close()

    def _attach(self, direction: Direction, ifindex: int) -> Attachment:
        program = self._loaded.programs[direction.program]
        return attach(direction, ifindex, program, self.options.pins, self.options.method)
