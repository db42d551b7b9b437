"""Going on as another user (directive `setuid`), with no more rights than the work needs.

What the daemon opens later it must be able to open as that user, so the files and directories that
it writes are given to the user first. Every thread that is made afterwards has the same rights.
"""

import contextlib
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

NEEDED: Final = frozenset((Cap.NET_ADMIN, Cap.NET_RAW, Cap.NET_BIND_SERVICE, Cap.BPF, Cap.PERFMON))
"""The TUN device, routes, nftables; raw sockets; port 23; the programs in the kernel."""
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
    except (KeyError, OverflowError):
        raise StartError(f'setuid: there is no user "{text}" on this machine') from None
    groups = tuple(os.getgrouplist(entry.pw_name, entry.pw_gid))
    return Identity(entry.pw_name, entry.pw_uid, entry.pw_gid, groups)


def become(user: Identity, config: Config) -> None:
    """Go on as `user`, for good. Nothing is done when this process is that user already. Raises
    StartError."""
    if os.geteuid() == user.uid and os.getuid() == user.uid:
        return
    if os.geteuid() != 0:
        raise StartError(f"only root can become {user.name}: start as root, or without setuid")
    try:
        hand_over_places(config, user)
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


def hand_over_places(config: Config, user: Identity) -> None:
    """Make the directories and files that the daemon writes, and give them to the user. Raises
    OSError."""
    for directory in _own_directories(config):
        _make(Path(directory), user)
        _give_all(Path(directory), user)
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


def _make(directory: Path, user: Identity) -> None:
    """Make a directory that is missing, the user's from its first moment on."""
    if not directory.is_dir():
        directory.parent.mkdir(parents=True, exist_ok=True)
        directory.mkdir(mode=0o700)
    os.chown(directory, user.uid, user.gid)


def _give_all(directory: Path, user: Identity) -> None:
    """Give what root has left in a directory of ours."""
    for entry in _entries(directory, depth=2):
        with contextlib.suppress(FileNotFoundError):
            status = entry.lstat()
            is_ours = stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)
            if status.st_uid == 0 and is_ours and (status.st_nlink == 1 or entry.is_dir()):
                os.chown(entry, user.uid, user.gid, follow_symlinks=False)


def _entries(directory: Path, depth: int) -> Iterator[Path]:
    if depth == 0:
        return
    for count, entry in enumerate(os.scandir(directory)):
        if count >= MAX_ENTRIES:
            return
        yield Path(entry.path)
        if entry.is_dir(follow_symlinks=False):
            yield from _entries(Path(entry.path), depth - 1)


def _give_file(path: Path, user: Identity) -> None:
    """Make a file that is missing; give it if it is a plain one."""
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o640))
    descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.fchown(descriptor, user.uid, user.gid)
    finally:
        os.close(descriptor)


def _give_run_directory(directory: Path, ours: set[str], user: Identity) -> None:
    """The directory of the shell's socket is given when only ours is in it: it may be /run."""
    if not directory.is_dir():
        _make(directory, user)
        directory.chmod(0o755)
    elif ours.issuperset(os.listdir(directory)):
        os.chown(directory, user.uid, user.gid)


def _give_pins(base: Path, user: Identity) -> None:
    """The directory of this network namespace, with what a former process pinned there."""
    with contextlib.suppress(FastPathError):  # then the plane says so
        ensure_bpffs(base.parent)
        mode = stat.S_IMODE(base.parent.stat().st_mode)
        base.parent.chmod(mode | stat.S_IXOTH)  # to be passed through, not to be read
        directory = base / str(OWN_NAMESPACE.stat().st_ino)
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.chown(directory, user.uid, user.gid)
        _give_all(directory, user)
