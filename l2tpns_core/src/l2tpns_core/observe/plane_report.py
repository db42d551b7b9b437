"""What `show dataplane` tells: which plane forwards and why, and what the kernel has done."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(slots=True, frozen=True)
class KernelReport:
    """The part of the plane that is in the kernel, since it was loaded."""

    sessions: int
    max_sessions: int
    interfaces: Mapping[str, str]
    """How the program for packets of LACs is attached to each interface."""
    lacs: Mapping[str, str]
    """The way to each LAC: interface, and gateway if there is one."""
    hits: Mapping[str, int]
    """Packets forwarded, `up` (from subscribers) and `down`."""
    past_the_stack: Mapping[str, int]
    """Those of them that passed by the IP stack."""
    punts: Mapping[str, int]
    """Packets left to user space, by direction and reason: `up control`."""
    drops: Mapping[str, int]
    other: Mapping[str, int]
    """What else is counted."""
    programs: Mapping[str, tuple[int, int]]
    """Bytes of each program, as verified and as machine code."""
    maps: Mapping[str, int]
    """Bytes of kernel memory of each map."""
    pins: str
    """Where it outlives the daemon; "" where it does not."""
    direct: bool
    """Whether packets pass by the IP stack now."""
    obstacle: str
    """Why they do not; "" when they do, or when nobody has looked yet."""

    @property
    def memory(self) -> int:
        """Bytes of all maps."""
        return sum(self.maps.values())


@dataclass(slots=True, frozen=True)
class PlaneReport:
    """A data plane as operators see it."""

    plane: str
    """`ebpf` or `user`."""
    wanted: str
    """The directive `dataplane`."""
    reason: str
    """Why it is this plane; "" when it is the one that the directive names or the best."""
    device: str
    sessions: int
    process: Mapping[str, int] = field(default_factory=dict)
    """Packets that went through the process, `up` and `down`."""
    kernel: KernelReport | None = None
