"""Network namespaces without names: a lab that leaves nothing behind.

A namespace lives as long as a descriptor of it is open or a process is in it, so it is gone when
its `Namespace` is closed and its processes have ended, however that came about. Needs root, or a
user namespace of its own (`become_lab_root`). The `ip` command is not needed.
"""

import contextlib
import ctypes
import errno
import fcntl
import ipaddress
import os
import signal
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, ParamSpec, Self, TypeVar

from pyroute2 import IPRoute

CLONE_NEWNS: Final = 0x00020000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWNET: Final = 0x40000000
MS_REC: Final = 0x4000
MS_PRIVATE: Final = 0x40000
PR_SET_PDEATHSIG: Final = 1
TUN_DEVICE: Final = Path("/dev/net/tun")
TUNSETIFF: Final = 0x400454CA
IFF_TUN_NO_PI: Final = 0x1001
SIOCETHTOOL: Final = 0x8946
ETHTOOL_STXCSUM: Final = 0x17
ETHTOOL_STSO: Final = 0x1F

_libc = ctypes.CDLL(None, use_errno=True)

P = ParamSpec("P")
T = TypeVar("T")


class LabError(Exception):
    """The environment does not allow what the lab needs; the text names the remedy."""


def _check(outcome: int, what: str) -> None:
    if outcome != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def unshare(flags: int) -> None:
    """Give the calling thread new namespaces. Raises OSError."""
    _check(_libc.unshare(flags), "unshare")


def set_namespace(descriptor: int, flags: int = CLONE_NEWNET) -> None:
    """Move the calling thread into the namespace that descriptor stands for. Raises OSError."""
    _check(_libc.setns(descriptor, flags), "setns")


def mount_private(target: str) -> None:
    """Put an empty tmpfs on target, seen by this mount namespace only. Raises OSError."""
    _check(_libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None), "mount /")
    _check(_libc.mount(b"tmpfs", target.encode(), b"tmpfs", 0, b"mode=755"), f"mount {target}")


def die_with_parent(sig: int = signal.SIGKILL) -> None:
    """Have the kernel send sig to this process when the thread that started it ends."""
    _check(_libc.prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(sig), 0, 0, 0), "prctl")


def _in_thread(function: Callable[[], T]) -> T:
    """Run function in a thread of its own and return or raise what it did."""
    result: list[T] = []
    failure: list[BaseException] = []

    def body() -> None:
        try:
            result.append(function())
        except BaseException as error:  # noqa: BLE001  (raised again in the caller's thread)
            failure.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return result[0]


class Namespace:
    """A network namespace of its own, loopback up. A context manager: leaving closes it.

    `label` is for messages only. Raises LabError when the system refuses.
    """

    def __init__(self, label: str = "netns") -> None:
        self.label = label
        self.descriptor = -1
        try:
            self.descriptor = _in_thread(_make)
        except OSError as error:
            raise LabError(
                f"no network namespace can be made ({error.strerror}): run as root, or allow "
                "unprivileged user namespaces"
            ) from error
        self.set_up("lo")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the namespace; it ends when no process is left in it."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run function inside the namespace, in a thread, and return what it returns.

        Sockets that it makes stay in the namespace, so this is also how to get one. Must not be
        given functions that use the caller's event loop.
        """

        def body() -> T:
            set_namespace(self.descriptor)
            return function(*args, **kwargs)

        return _in_thread(body)

    def popen(self, argv: Sequence[str], **options: Any) -> "subprocess.Popen[Any]":
        """Start a command inside the namespace; `options` as for subprocess.Popen.

        The child is killed when the thread that called this ends, so that nothing is left over.
        """
        return subprocess.Popen(argv, preexec_fn=self.child_setup(), **options)  # noqa: PLW1509

    def child_setup(self) -> Callable[[], None]:
        """What a forked child has to run to be in the namespace (a `preexec_fn`)."""
        descriptor, parent = self.descriptor, os.getpid()

        def setup() -> None:
            set_namespace(descriptor)
            die_with_parent()
            if os.getppid() != parent:  # it ended before prctl was heard
                os._exit(1)

        return setup

    def run(
        self, argv: Sequence[str], timeout_s: float = 60, check: bool = True
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command inside the namespace to its end, output captured as text.

        Raises subprocess.CalledProcessError (with check) and subprocess.TimeoutExpired.
        """
        return subprocess.run(
            argv,
            preexec_fn=self.child_setup(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=check,
        )

    @contextlib.contextmanager
    def links(self) -> Iterator[Any]:
        """A pyroute2 IPRoute inside the namespace, for the length of a `with` block.

        Not inside a running event loop: use `call` with a function that does the work there.
        """
        here = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            set_namespace(self.descriptor)
            try:
                with IPRoute() as route:
                    yield route
            finally:
                set_namespace(here)
        finally:
            os.close(here)

    def set_up(self, link: str) -> None:
        """Bring a link up."""
        self.call(_set_up, link)

    def set_down(self, link: str) -> None:
        """Take a link down."""
        self.call(_set_down, link)

    def finish_packets(self, link: str) -> None:
        """Have packets leave a veth cut to size and with their checksums filled in, as they are on
        a wire. Whoever reads them out of a tunnel in user space wants them so: the kernel that
        would finish them on arrival never sees what is in a tunnel that the kernel here wraps."""
        for command in (ETHTOOL_STXCSUM, ETHTOOL_STSO):
            self.call(set_offload, link, command, on=False)

    def add_address(self, link: str, address: str) -> None:
        """Give a link an address, written `10.0.0.1/24`."""
        self.call(_add_address, link, address)

    def add_route(self, destination: str, gateway: str) -> None:
        """Route destination (`10.0.0.0/8` or `default`) by way of gateway."""
        self.call(_add_route, destination, gateway)

    def sysctl(self, name: str, value: object) -> None:
        """Set a net sysctl of this namespace, for instance `net.ipv4.ip_forward`."""
        self.call(Path("/proc/sys", *name.split(".")).write_text, str(value))

    def forward(self) -> None:
        """Turn IPv4 forwarding on."""
        self.sysctl("net.ipv4.ip_forward", 1)

    def udp_socket(self, address: str, port: int = 0) -> socket.socket:
        """A non-blocking UDP socket inside the namespace, bound to address and port."""

        def make() -> socket.socket:
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                sock.setblocking(False)
                sock.bind((address, port))
            except BaseException:
                sock.close()
                raise
            return sock

        return self.call(make)


def _make() -> int:
    unshare(CLONE_NEWNET)
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _index(route: Any, link: str) -> int:
    found = route.link_lookup(ifname=link)
    if not found:
        raise LabError(f"no such link: {link}")
    return int(found[0])


def _set_up(link: str) -> None:
    with IPRoute() as route:
        route.link("set", index=_index(route, link), state="up")


def _set_down(link: str) -> None:
    with IPRoute() as route:
        route.link("set", index=_index(route, link), state="down")


def set_offload(link: str, command: int, *, on: bool) -> None:
    """Switch an offload of a link in the calling thread's namespace, as `ethtool -K` does; the
    command is one of ETHTOOL_S*. Raises OSError."""
    value = ctypes.create_string_buffer(struct.pack("=II", command, int(on)))
    request = struct.pack("=16sQ16x", link.encode(), ctypes.addressof(value))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        fcntl.ioctl(asking, SIOCETHTOOL, request)


def _add_address(link: str, address: str) -> None:
    interface = ipaddress.ip_interface(address)
    with IPRoute() as route:
        route.addr(
            "add",
            index=_index(route, link),
            address=str(interface.ip),
            prefixlen=interface.network.prefixlen,
        )


def _add_route(destination: str, gateway: str) -> None:
    with IPRoute() as route:
        route.route("add", dst=destination, gateway=gateway)


def veth(
    ns_a: Namespace,
    name_a: str,
    address_a: str,
    ns_b: Namespace,
    name_b: str,
    address_b: str,
    mtu: int = 1500,
) -> None:
    """Join two namespaces by a cable: name_a in ns_a, name_b in ns_b, both up, with addresses.

    An empty address leaves that end without one.
    """

    def make() -> None:
        with IPRoute() as route:
            route.link(
                "add",
                ifname=name_a,
                kind="veth",
                mtu=mtu,
                peer={"ifname": name_b, "net_ns_fd": ns_b.descriptor, "mtu": mtu},
            )

    ns_a.call(make)
    for space, name, address in ((ns_a, name_a, address_a), (ns_b, name_b, address_b)):
        if address:
            space.add_address(name, address)
        space.set_up(name)


def become_lab_root(private_run: bool = True) -> None:
    """Get what a lab needs: as root a mount namespace, else a user namespace where we are root.

    The calling process must have one thread only. With private_run, /run is an empty directory
    of its own from now on. Raises LabError with the remedy.
    """
    try:
        if os.geteuid() == 0:
            unshare(CLONE_NEWNS)
        else:
            _become_root_of_user_namespace()
        if private_run:
            mount_private("/run")
    except OSError as error:
        raise LabError(_namespace_remedy(error)) from error


def _become_root_of_user_namespace() -> None:
    user, group = os.geteuid(), os.getegid()
    unshare(CLONE_NEWUSER | CLONE_NEWNS)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1")
    Path("/proc/self/gid_map").write_text(f"0 {group} 1")


def _namespace_remedy(error: OSError) -> str:
    reason = error.strerror or str(error)
    if os.geteuid() == 0:
        return f"namespaces are not allowed here ({reason}): give the container CAP_SYS_ADMIN"
    if error.errno == errno.ENOSPC:
        remedy = "raise sysctl user.max_user_namespaces, or run as root"
    else:
        remedy = (
            "run as root, or allow them (sysctl kernel.unprivileged_userns_clone=1, on Ubuntu "
            "kernel.apparmor_restrict_unprivileged_userns=0)"
        )
    return f"unprivileged user namespaces are not allowed here ({reason}): {remedy}"


def check_tun(namespace: Namespace) -> None:
    """Try to make a TUN device in namespace. Raises LabError with the remedy."""
    namespace.call(_try_tun)


def _try_tun() -> None:
    try:
        descriptor = os.open(TUN_DEVICE, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise LabError(
            f"{TUN_DEVICE} is missing: modprobe tun, or start the container with "
            f"--device {TUN_DEVICE}"
        ) from error
    except OSError as error:
        raise LabError(
            f"{TUN_DEVICE} cannot be opened ({error.strerror}): chmod 0666 {TUN_DEVICE} as root, "
            f"or start the container with --device {TUN_DEVICE}"
        ) from error
    try:
        request = struct.pack("16sH22x", b"lab%d", IFF_TUN_NO_PI)
        _check(_libc.ioctl(descriptor, ctypes.c_ulong(TUNSETIFF), request), "TUNSETIFF")
    except OSError as error:
        raise LabError(
            f"a TUN device cannot be made ({error.strerror}): run as root, or with CAP_NET_ADMIN"
        ) from error
    finally:
        os.close(descriptor)
