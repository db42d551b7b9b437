"""Debian's l2tpns: its package fetched and unpacked for the time of the bench, never installed.

It reads /etc/l2tpns, so it runs in a copy of the system's root on top of which the package lies
(an overlay, mounted where only the bench sees it).
"""

import ctypes
import os
import re
import shutil
import socket
import stat
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, Final

from l2tpns_core.lab.netns import LabError, Namespace

PACKAGE: Final = "l2tpns"
PROGRAM: Final = "/usr/sbin/l2tpns"
HOME: Final = "/etc/l2tpns"
LAYER: Final = Path("/run/l2tpns-bench")  # in a /run of our own
NEEDED: Final = ("usr/sbin", "usr/lib")
"""What of the packages is of use; a /lib would hide the system's own."""
FETCH_TIMEOUT_S: Final = 60
PIDFD_GETFD: Final = 438  # the same number everywhere
MS_BIND, MS_REC, MNT_DETACH = 0x1000, 0x4000, 2

_libc = ctypes.CDLL(None, use_errno=True)


class DebianRoot:
    """A directory that looks like / with the package in it.

    All of it lies in a file system in memory below LAYER, which is there for this process and its
    children alone (become_lab_root) and goes with them. Nothing there is ever deleted file by
    file: below it is the system itself.
    """

    def __init__(self, directory: Path) -> None:
        """Fetch into a directory. Raises LabError when the package cannot be had."""
        LAYER.mkdir(parents=True)
        _mount("tmpfs", LAYER, "tmpfs", 0, "mode=755")
        self.tree = LAYER / "tree"
        self.path = LAYER / "root"
        self.version = _fetch(directory, self.tree)
        (self.tree / HOME[1:]).mkdir(parents=True)

    def close(self) -> None:
        """Take all of the mounts away."""
        _libc.umount2(str(LAYER).encode(), MNT_DETACH)
        LAYER.rmdir()

    def write(self, name: str, text: str) -> None:
        """A file in /etc/l2tpns; before mount()."""
        (self.tree / HOME[1:] / name).write_text(text)

    def mount(self) -> None:
        """Raises LabError."""
        self.path.mkdir()
        options = f"lowerdir={self.tree}:/"
        _mount("overlay", self.path, "overlay", 0, options)
        for name in ("dev", "proc", "tmp"):
            _mount(f"/{name}", self.path / name, "", MS_BIND | MS_REC, "")

    def popen(self, space: Namespace, log: IO[Any]) -> "subprocess.Popen[Any]":
        """Start the daemon in a network namespace."""
        return subprocess.Popen(
            [PROGRAM, "-c", f"{HOME}/startup-config"],
            preexec_fn=self._setup(space.child_setup()),  # noqa: PLW1509
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # at its end it signals its whole process group
        )

    def _setup(self, enter: Callable[[], None]) -> Callable[[], None]:
        def setup() -> None:
            enter()
            os.chroot(self.path)
            os.chdir("/")

        return setup


def socket_of(pid: int, port: int) -> socket.socket | None:
    """A process's UDP socket on a port, shared with us; None when it has none."""
    process = os.pidfd_open(pid)
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            theirs = _libc.syscall(PIDFD_GETFD, process, int(name), 0)
            if theirs >= 0 and (found := _udp_socket(theirs, port)):
                return found
    finally:
        os.close(process)
    return None


def _udp_socket(descriptor: int, port: int) -> socket.socket | None:
    """The socket of a descriptor if it is that one; otherwise the descriptor is closed."""
    if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return None
    sock = socket.socket(fileno=descriptor)
    kind = (sock.family, sock.type)
    if kind == (socket.AF_INET, socket.SOCK_DGRAM) and sock.getsockname()[1] == port:
        return sock
    sock.close()
    return None


def _fetch(directory: Path, tree: Path) -> str:
    """Unpack the package and the library for its command line; return its version."""
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise LabError(f"there is no {tool} here")
    _download(directory, PACKAGE)
    archive = next(directory.glob(f"{PACKAGE}_*.deb"))
    fields = _run(["dpkg-deb", "--field", str(archive), "Version", "Depends"])
    found = re.search(r"libcli\S*", fields)
    if found:
        _download(directory, found[0])
    unpacked = directory / "unpacked"
    for package in directory.glob("*.deb"):
        _run(["dpkg-deb", "--extract", str(package), str(unpacked)])
    for name in NEEDED:
        if (unpacked / name).is_dir():
            shutil.copytree(unpacked / name, tree / name, symlinks=True)
    return fields.splitlines()[0].partition(" ")[2]


def _download(directory: Path, package: str) -> None:
    _run(["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", package], directory)


def _run(command: Sequence[str], directory: Path | None = None) -> str:
    try:
        return subprocess.run(
            command,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
            timeout=FETCH_TIMEOUT_S,
        ).stdout
    except subprocess.CalledProcessError as error:
        reason = (error.stderr or error.stdout).strip().splitlines()
        raise LabError(f"{command[0]}: {reason[-1] if reason else 'failed'}") from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"{command[0]}: no end in {FETCH_TIMEOUT_S} s") from error


def _mount(source: str, target: Path, kind: str, flags: int, options: str) -> None:
    done = _libc.mount(
        source.encode(),
        str(target).encode(),
        kind.encode() or None,
        ctypes.c_ulong(flags),
        options.encode() or None,
    )
    if done:
        raise LabError(f"cannot mount {target.name}: {os.strerror(ctypes.get_errno())}")
