"""Going on as another user (directive `setuid`), with no more rights than the work needs.

What the daemon opens later it must be able to open as that user, so the files and directories that
it writes are given to the user first. Every thread that is made afterwards has the same rights.
"""

import contextlib
import errno
import logging
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from l2tpns_core.capabilities import (
    Cap,
    bound,
    keep_over_setuid,
    no_new_privileges,
    permitted,
    restrict,
)
from l2tpns_core.config.directives import Config
from l2tpns_core.dataplane.ebpf.errors import FastPathError
from l2tpns_core.dataplane.ebpf.keep import OWN_NAMESPACE, ensure_bpffs
from l2tpns_core.observe.syslog import SYSLOG_PREFIX
from l2tpns_core.startup import StartError

log = logging.getLogger("l2tpns")

NEEDED: Final = frozenset((Cap.NET_ADMIN, Cap.NET_RAW, Cap.NET_BIND_SERVICE, Cap.BPF, Cap.PERFMON))
"""The TUN device, routes, nftables; raw sockets; port 23; the programs in the kernel."""
SHARED: Final = frozenset(
    Path(path)
    for path in (
        *("/", "/boot", "/dev", "/etc", "/home", "/mnt", "/opt", "/proc", "/root", "/run", "/srv"),
        *("/sys", "/tmp", "/usr", "/usr/local", "/var", "/var/cache", "/var/lib", "/var/log"),
        *("/var/run", "/var/spool", "/var/tmp"),
    )
)
"""Directories that are everybody's: a directive that names one has lost its last word."""
DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY
MAX_ENTRIES: Final = 10_000
"""Files that are given to the user in one directory."""


class Identity(NamedTuple):
    """A user to become."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]


def find_user(text: str) -> Identity | None:
    """The user of a name or a number; None when none is asked for. Raises StartError."""
    if not text:
        return None
    try:
        entry = pwd.getpwuid(int(text)) if text.isdecimal() else pwd.getpwnam(text)
    except (KeyError, OverflowError, ValueError):
        raise StartError(f'setuid: there is no user "{text}" on this machine') from None
    groups = tuple(os.getgrouplist(entry.pw_name, entry.pw_gid))
    return Identity(entry.pw_name, entry.pw_uid, entry.pw_gid, groups)


def prepare(user: Identity, config: Config) -> None:
    """Give `user` what it will write, before root opens any of it. Raises StartError."""
    if _is(user):
        return
    if os.geteuid() != 0:
        raise StartError(f"only root can become {user.name}: start as root, or without setuid")
    try:
        hand_over_places(config, user)
    except OSError as error:
        raise StartError(f"cannot become {user.name}: {error}") from error


def become(user: Identity, config: Config) -> None:
    """Go on as `user`, for good, after prepare(). Nothing is done when this process is that user
    already. Raises StartError."""
    if _is(user):
        return
    try:
        wanted = NEEDED | ({Cap.IPC_LOCK} if config.lock_pages else set())
        kept = wanted & permitted()
        bound(kept)
        keep_over_setuid()
        os.setgroups(user.groups)
        os.setresgid(user.gid, user.gid, user.gid)
        os.setresuid(user.uid, user.uid, user.uid)
        restrict(kept, inherit=True)
        no_new_privileges()
    except OSError as error:
        raise StartError(f"cannot become {user.name}: {error}") from error
    os.environ.update(USER=user.name, LOGNAME=user.name)


def warn_of_closed_files(startup_config: Path, user: Identity) -> None:
    """Root has read the startup-config; this process, which may not, would find out at SIGHUP."""
    if not os.access(startup_config, os.R_OK, effective_ids=True):
        text = "%s cannot be read by %s: SIGHUP will change nothing"
        log.warning(text, startup_config, user.name)


def _is(user: Identity) -> bool:
    return os.geteuid() == user.uid and os.getuid() == user.uid


def hand_over_places(config: Config, user: Identity) -> None:
    """Make the directories and files that the daemon writes, and give them to the user. Raises
    OSError."""
    for directory in _own_directories(config):
        if Path(os.path.normpath(directory)) in SHARED:
            raise OSError(errno.EINVAL, "it is the system's, name one below it", directory)
        with _opened(Path(directory), make=True) as descriptor:
            os.fchown(descriptor, user.uid, user.gid)
            _give_all(descriptor, user)
    names = {Path(path).name for path in (config.cli_socket, config.pid_file)}
    _give_run_directory(Path(config.cli_socket).parent, names, user)
    for file in _own_files(config):
        _give_file(Path(file), user)
    if config.bpf_directory and config.dataplane != "user":
        _give_pins(Path(config.bpf_directory), user)


def _own_directories(config: Config) -> Iterator[str]:
    yield config.state_dir
    if config.accounting_spool and config.accounting_spool_size:
        yield config.accounting_spool
    if config.accounting_dir:
        yield config.accounting_dir


def _own_files(config: Config) -> Iterator[str]:
    if config.log_file and not config.log_file.startswith(SYSLOG_PREFIX):
        yield config.log_file
    if config.pid_file:
        yield config.pid_file


@contextlib.contextmanager
def _opened(directory: Path, *, make: bool = False) -> Iterator[int]:
    """A directory that is given away, or whose files are. Raises OSError.

    The way there is walked step by step, and only root's symbolic links are followed: the user has
    directories on it, and could otherwise have root give away /etc.
    """
    steps = directory.absolute().parts[1:]
    descriptor = os.open("/", DIRECTORY)
    try:
        for number, step in enumerate(steps, 1):
            if make:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(step, 0o700 if number == len(steps) else 0o755, dir_fd=descriptor)
            below = _step(descriptor, step, directory)
            os.close(descriptor)
            descriptor = below
        yield descriptor
    finally:
        os.close(descriptor)


def _step(above: int, name: str, whole: Path) -> int:
    status = os.stat(name, dir_fd=above, follow_symlinks=False)
    if not stat.S_ISLNK(status.st_mode):
        return os.open(name, DIRECTORY | os.O_NOFOLLOW, dir_fd=above)
    if status.st_uid or os.fstat(above).st_uid:
        text = f'"{name}" is a symbolic link that is not of root, and is not followed'
        raise OSError(errno.ELOOP, text, str(whole))
    return os.open(name, DIRECTORY, dir_fd=above)


def _give_all(directory: int, user: Identity, depth: int = 2) -> None:
    """Give what root has left in a directory of ours."""
    for name in os.listdir(directory)[:MAX_ENTRIES]:
        with contextlib.suppress(FileNotFoundError):
            entry = os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=directory)
            try:
                _give(entry, user)
                if depth > 1 and stat.S_ISDIR(os.fstat(entry).st_mode):
                    below = os.open(".", DIRECTORY, dir_fd=entry)
                    try:
                        _give_all(below, user, depth - 1)
                    finally:
                        os.close(below)
            finally:
                os.close(entry)


def _give(entry: int, user: Identity) -> None:
    """What has another name may be a file that the user linked here."""
    status = os.fstat(entry)
    is_file = stat.S_ISREG(status.st_mode) and status.st_nlink == 1
    if status.st_uid == 0 and (is_file or stat.S_ISDIR(status.st_mode)):
        os.chown(f"/proc/self/fd/{entry}", user.uid, user.gid)


def _give_file(path: Path, user: Identity) -> None:
    """Make a file that is missing; give it if it is a plain one."""
    with _opened(path.parent) as directory:
        with contextlib.suppress(FileExistsError):
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY
            os.close(os.open(path.name, flags, 0o640, dir_fd=directory))
        entry = os.open(path.name, os.O_PATH | os.O_NOFOLLOW, dir_fd=directory)
        try:
            if stat.S_ISLNK(os.fstat(entry).st_mode):
                raise OSError(errno.ELOOP, "a symbolic link is not given away", str(path))
            if not stat.S_ISDIR(os.fstat(entry).st_mode):
                _give(entry, user)
        finally:
            os.close(entry)


def _give_run_directory(directory: Path, ours: set[str], user: Identity) -> None:
    """The directory of the shell's socket is given when only ours is in it: it may be /run."""
    is_new = not directory.is_dir()
    with _opened(directory, make=True) as descriptor:
        if is_new:
            os.fchmod(descriptor, 0o755)
        if ours.issuperset(os.listdir(descriptor)):
            os.fchown(descriptor, user.uid, user.gid)


def _give_pins(base: Path, user: Identity) -> None:
    """The directory of this network namespace, with what a former process pinned there."""
    with contextlib.suppress(FastPathError):  # then the plane says so
        ensure_bpffs(base.parent)
        mode = stat.S_IMODE(base.parent.stat().st_mode)
        base.parent.chmod(mode | stat.S_IXOTH)  # to be passed through, not to be read
        with _opened(base / str(OWN_NAMESPACE.stat().st_ino), make=True) as descriptor:
            os.fchown(descriptor, user.uid, user.gid)
            _give_all(descriptor, user)
