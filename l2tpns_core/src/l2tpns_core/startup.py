"""What the daemon needs of the system, and how its parts are told their configuration.

What is opened is closed by the stack that it is given.
"""

import contextlib
import errno
import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import cast

from l2tpns_core.config.directives import Config, changed_directives
from l2tpns_core.dataplane.icmp_socket import IcmpSocket
from l2tpns_core.dataplane.tun import PlaneOptions
from l2tpns_core.dataplane.udp import L2tpSocket
from l2tpns_core.lns.settings import tun_address
from l2tpns_core.net.tun_device import TunDevice
from l2tpns_core.radius.config import (
    RadiusConfig,
    RadiusServer,
    RequireMessageAuthenticator,
)

log = logging.getLogger("l2tpns")


class StartError(Exception):
    """The daemon cannot start; the text is one line that says what to do about it."""


def radius_config(config: Config) -> RadiusConfig:
    """What the RADIUS client is told; a server with address 0.0.0.0 is none."""
    addresses = (config.primary_radius, config.secondary_radius)
    servers = tuple(
        RadiusServer(str(address), port, port + 1)
        for address, port in zip(addresses, config.radius_ports, strict=True)
        if int(address)
    )
    return RadiusConfig(
        servers=servers,
        secret=config.radius_secret.encode(),
        nas_ip=str(config.bind_address),
        nas_identifier=config.nas_identifier or config.hostname,
        timeout_s=float(config.radius_timeout),
        tries_per_server=config.radius_tries,
        dead_time_s=float(config.radius_dead_time),
        require_message_authenticator=cast(
            RequireMessageAuthenticator, config.radius_require_message_authenticator
        ),
    )


def report_waiting(running: Config, wanted: Config) -> None:
    """Tell of each directive that has another value in the file than the daemon runs with, after
    what may change while it runs has been changed."""
    for entry in changed_directives(running, wanted):
        if entry.acts:
            log.warning(
                "%s has changed in the file, which acts %s", entry.name, entry.acts_at.value
            )


def plane_options(config: Config) -> PlaneOptions:
    return PlaneOptions(
        multi_read_count=config.multi_read_count,
        icmp_rate=config.icmp_rate,
        address=tun_address(config),
    )


def open_l2tp_socket(config: Config, stack: contextlib.AsyncExitStack) -> L2tpSocket:
    """Raises StartError."""
    address = str(config.bind_address) if int(config.bind_address) else ""
    try:
        l2tp_socket = L2tpSocket(address, config.l2tp_port, config.udp_receive_buffer)
    except OSError as error:
        raise StartError(
            f"cannot bind UDP {address or '0.0.0.0'}:{config.l2tp_port}: {error.strerror} "
            "(see bind_address and l2tp_port; is another LNS running?)"
        ) from error
    stack.callback(l2tp_socket.close)
    return l2tp_socket


def open_tun_device(config: Config, stack: contextlib.AsyncExitStack, left: str = "") -> TunDevice:
    """The device that is configured, or the one that a former process left. Raises StartError."""
    name = left or config.tundevicename
    try:
        device = TunDevice(name)
    except OSError as error:
        remedy = "/dev/net/tun and CAP_NET_ADMIN are needed"
        if error.errno == errno.EACCES:
            remedy = "this user may not: chmod 666 /dev/net/tun, as udev does"
        if name and error.errno in (errno.EINVAL, errno.EBUSY):
            remedy = "another interface has that name; see tundevicename"
        raise StartError(
            f"cannot open the TUN device {name or 'tun%d'}: {error.strerror} ({remedy})"
        ) from error
    except ValueError as error:
        raise StartError(f"{error} (see tundevicename)") from error
    stack.callback(device.close)
    return device


def open_icmp_socket(stack: contextlib.AsyncExitStack) -> Callable[[bytes], object] | None:
    try:
        icmp = IcmpSocket()
    except OSError as error:
        log.error("no ICMP errors will be sent: %s (CAP_NET_RAW is needed)", error)
        return None
    stack.callback(icmp.close)
    return icmp.send


def write_pid_file(path: str, stack: contextlib.AsyncExitStack) -> None:
    if not path:
        return
    try:
        Path(path).write_text(f"{os.getpid()}\n")
    except OSError as error:
        log.error("cannot write the pid file %s: %s", path, error.strerror)
        return
    stack.callback(_remove_pid_file, Path(path))


def _remove_pid_file(path: Path) -> None:
    """Its directory may be another user's than the one that the daemon has become."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        with contextlib.suppress(OSError):
            path.write_text("")


def own_hostname() -> str:
    """The name of this machine without its domain."""
    return socket.gethostname().partition(".")[0] or "l2tpns"


def detach() -> None:
    """Go on in the background (option -d): a new session without a terminal."""
    if os.fork():
        os._exit(0)
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
