"""Attach the programs to interfaces at tc: by tcx where the kernel has it (6.6), else by clsact.

A tcx link is gone when its last descriptor is closed, unless it is pinned. A clsact filter stays
until somebody removes it; its priority is how ours is found again, so it is never there twice.
"""

import ctypes
import errno
import fcntl
import logging
import os
import socket
import struct
from enum import Enum
from pathlib import Path
from typing import Final

from l2tpns_core.dataplane.ebpf.errors import FastPathError, kernel_refused
from l2tpns_core.dataplane.ebpf.libbpf import (
    TC_EGRESS,
    TC_INGRESS,
    TC_REPLACE,
    TCX_EGRESS,
    TCX_INGRESS,
    LinkInfo,
    ProgramInfo,
    TcHook,
    TcOptions,
    check,
    info_of,
    library,
    pin,
    pinned,
)

log = logging.getLogger("l2tpns.plane")

PRIORITY: Final = 1701
HANDLE: Final = 1
SIOCGIFHWADDR: Final = 0x8927
ETHERNET_TYPES: Final = frozenset({1, 772})
"""ARPHRD_ETHER and ARPHRD_LOOPBACK: a packet begins with 14 bytes of MAC header."""
NO_TCX: Final = frozenset({errno.EINVAL, errno.EOPNOTSUPP})


class Direction(Enum):
    """A program and where it goes; the value begins the names of pinned links."""

    UP = "up"
    DOWN = "down"
    IN = "in"

    @property
    def program(self) -> str:
        return f"l2tp_{self.value}"

    @property
    def priority(self) -> int:
        """Of the filter of clsact: what looks at packets first has the lower number."""
        return PRIORITY + (self is Direction.IN)

    @property
    def is_ingress(self) -> bool:
        """Whether it sees what an interface receives; else what is sent there."""
        return self is not Direction.DOWN


class Method(Enum):
    AUTO = "auto"
    TCX = "tcx"
    CLSACT = "clsact"


class Attachment:
    """One program at one interface."""

    def __init__(self, direction: Direction, ifindex: int, link: int | None) -> None:
        self.direction = direction
        self.ifindex = ifindex
        self.link = link
        """The descriptor of the tcx link; None for a filter of clsact."""

    @property
    def method(self) -> Method:
        return Method.CLSACT if self.link is None else Method.TCX


def attach(
    direction: Direction, ifindex: int, program: int, pins: Path | None, method: Method
) -> Attachment:
    """Attach a program to an interface, in place of what an earlier process attached there.

    Raises FastPathError.
    """
    if direction.is_ingress and not is_ethernet(ifindex):
        raise FastPathError(f"interface {ifindex} is not Ethernet", "user space serves its LACs")
    if method is not Method.CLSACT:
        path = pins / f"{direction.value}-{ifindex}" if pins else None
        link = _attach_tcx(direction, ifindex, program, path)
        if link is not None:
            remove_filter(direction, ifindex)
            return Attachment(direction, ifindex, link)
        if method is Method.TCX:
            raise FastPathError("the kernel has no tcx", "Linux 6.6")
    _attach_filter(direction, ifindex, program)
    return Attachment(direction, ifindex, None)


def detach(attachment: Attachment, pins: Path | None) -> None:
    """Take a program off its interface. Nothing happens when the interface is gone."""
    if attachment.link is None:
        remove_filter(attachment.direction, attachment.ifindex)
        return
    if pins is not None:
        (pins / f"{attachment.direction.value}-{attachment.ifindex}").unlink(missing_ok=True)
    library().bpf_link_detach(attachment.link)
    os.close(attachment.link)


def release(attachment: Attachment) -> None:
    """Leave a program where it is, and to whoever comes: what is pinned stays attached."""
    if attachment.link is not None:
        os.close(attachment.link)


def leftovers(pins: Path) -> list[tuple[Direction, int]]:
    """What earlier processes left attached and pinned; links whose interface is gone go now."""
    found = []
    for path in sorted(pins.iterdir()):
        name, _, number = path.name.partition("-")
        if name not in {each.value for each in Direction} or not number.isdecimal():
            continue
        fd = pinned(path)
        try:
            info = LinkInfo()
            info_of(fd, info)
        finally:
            os.close(fd)
        if info.ifindex == int(number):
            found.append((Direction(name), int(number)))
        else:
            path.unlink()
    return found


def is_ethernet(ifindex: int) -> bool:
    """Whether packets of an interface have a MAC header. Raises FastPathError when it is gone."""
    try:
        name = socket.if_indextoname(ifindex)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            answer = fcntl.ioctl(asking, SIOCGIFHWADDR, struct.pack("16s24x", name.encode()))
    except OSError as error:
        raise kernel_refused(f"interface {ifindex}", error.errno or errno.ENODEV) from None
    return struct.unpack_from("=16xH", answer)[0] in ETHERNET_TYPES


def _attach_tcx(direction: Direction, ifindex: int, program: int, path: Path | None) -> int | None:
    """The link, or None when the kernel knows no tcx."""
    lib = library()
    if path is not None and path.exists():
        link = pinned(path)
        if lib.bpf_link_update(link, program, None) == 0:
            return link
        os.close(link)  # its interface went, and the number came again
        path.unlink()
    kind = TCX_INGRESS if direction.is_ingress else TCX_EGRESS
    link = int(lib.bpf_link_create(program, ifindex, kind, None))
    if link < 0 and -link in NO_TCX:
        return None
    check(link, f"attaching to interface {ifindex}")
    if path is not None:
        try:
            pin(link, path)
        except FastPathError:
            os.close(link)
            raise
    return link


def _hook(direction: Direction, ifindex: int) -> TcHook:
    point = TC_INGRESS if direction.is_ingress else TC_EGRESS
    return TcHook(sz=ctypes.sizeof(TcHook), ifindex=ifindex, attach_point=point)


def _attach_filter(direction: Direction, ifindex: int, program: int) -> None:
    lib, hook = library(), _hook(direction, ifindex)
    made = lib.bpf_tc_hook_create(ctypes.byref(hook))
    if made < 0 and made != -errno.EEXIST:
        check(made, f"clsact at interface {ifindex}")
    options = TcOptions(
        sz=ctypes.sizeof(TcOptions),
        prog_fd=program,
        flags=TC_REPLACE,
        handle=HANDLE,
        priority=direction.priority,
    )
    check(
        lib.bpf_tc_attach(ctypes.byref(hook), ctypes.byref(options)),
        f"attaching to interface {ifindex}",
    )


def remove_filter(direction: Direction, ifindex: int) -> None:
    """Remove our filter, if it is there. The clsact qdisc stays: others may use it."""
    hook = _hook(direction, ifindex)
    options = TcOptions(sz=ctypes.sizeof(TcOptions), handle=HANDLE, priority=direction.priority)
    library().bpf_tc_detach(ctypes.byref(hook), ctypes.byref(options))


def remove_strays() -> None:
    """Remove the filters of clsact that a process left which did not end cleanly, everywhere."""
    for ifindex, _name in socket.if_nameindex():
        for direction in Direction:
            if _has_our_filter(direction, ifindex):
                remove_filter(direction, ifindex)


def _has_our_filter(direction: Direction, ifindex: int) -> bool:
    """Whether the filter in our place is a program of ours, not somebody else's."""
    lib, hook = library(), _hook(direction, ifindex)
    options = TcOptions(sz=ctypes.sizeof(TcOptions), handle=HANDLE, priority=direction.priority)
    if lib.bpf_tc_query(ctypes.byref(hook), ctypes.byref(options)) < 0:
        return False
    fd = int(lib.bpf_prog_get_fd_by_id(options.prog_id))
    if fd < 0:
        return False
    try:
        info = ProgramInfo()
        info_of(fd, info)
    finally:
        os.close(fd)
    return bool(info.name.decode() == direction.program)
