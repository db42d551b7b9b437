"""Third-party programs out of Debian packages that are fetched and unpacked, never installed."""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

FETCH_TIMEOUT_S = 300
LAYOUT = 1
"""Counts the ways in which trees have been built; an older one in the cache is not used."""
LIBRARY = re.compile("lib|zlib")
"""Of what the packages depend on, only libraries are needed to run a program."""
MERGED_DIRECTORIES = ("bin", "lib", "lib64", "sbin")
"""Links into usr/, as on an installed system, wherever a package ships its files."""
DEPENDENCY_KINDS = ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")


class PackageError(Exception):
    """The packages cannot be fetched, or a program of them does not load."""


@dataclass(slots=True, frozen=True)
class PackageTree:
    """Unpacked packages below `path`; `libraries` are directories of them that hold libraries
    besides the usual ones."""

    path: Path
    libraries: tuple[str, ...] = ()

    def command(self, program: str, *arguments: str) -> list[str]:
        """The argv that runs a program of the tree on this system, with the tree's libraries.

        `program` is its absolute path inside the tree."""
        return [*self._loader("--argv0", program), f"{self.path}{program}", *arguments]

    def check(self, program: str) -> None:
        """Raise PackageError unless the program and all its libraries are there."""
        listed = _run([*self._loader("--list"), f"{self.path}{program}"]).stdout
        if "not found" in listed:
            raise PackageError(f"{program} does not load: {listed}")

    def _loader(self, *options: str) -> list[str]:
        loader = next(self.path.glob("usr/lib64/ld-linux*.so.*"), None)
        if loader is None:
            raise PackageError(f"no dynamic loader below {self.path}")
        directories = [*self.path.glob("usr/lib/*-linux-gnu")]
        directories += [self.path / name for name in self.libraries]
        return [str(loader), *options, "--library-path", ":".join(map(str, directories))]


def cache_directory() -> Path:
    """Where unpacked packages stay between runs."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    path = Path(base) / "l2tpns-tests"
    path.mkdir(parents=True, exist_ok=True)
    return path


def unpack(
    packages: Sequence[str],
    programs: Sequence[str],
    libraries: Sequence[str] = (),
    empty: Sequence[str] = (),
) -> PackageTree:
    """Fetch packages with their libraries and unpack them, once for each set of arguments.

    `programs` are the absolute paths of programs that must load, `libraries` directories with
    libraries besides the usual ones, `empty` directories to make, for use as mount points.
    Raises PackageError."""
    key = repr((LAYOUT, packages, programs, libraries, empty))
    path = cache_directory() / f"tree-{hashlib.sha256(key.encode()).hexdigest()[:12]}"
    with _locked(path.with_suffix(".lock")):
        if not path.exists():
            with tempfile.TemporaryDirectory(prefix="unpack-", dir=cache_directory()) as work:
                made = PackageTree(Path(work) / "tree", tuple(libraries))
                _build(made.path, Path(work), packages)
                for name in empty:
                    (made.path / name).mkdir(parents=True, exist_ok=True)
                for program in programs:
                    made.check(program)
                made.path.rename(path)
    return PackageTree(path, tuple(libraries))


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _build(tree: Path, work: Path, packages: Sequence[str]) -> None:
    for tool in ("apt-get", "apt-cache", "dpkg-deb", "tar"):
        if shutil.which(tool) is None:
            raise PackageError(f"{tool} is missing: the interoperability tests need Debian's tools")
    try:
        _download(packages, work)
    except PackageError:  # apt's lists may be missing or too old
        with contextlib.suppress(PackageError):
            _run(["apt-get", "-qq", "update"])
        _download(packages, work)
    for name in MERGED_DIRECTORIES:
        (tree / "usr" / name).mkdir(parents=True, exist_ok=True)
        (tree / name).symlink_to(f"usr/{name}")
    for archive in sorted(work.glob("*.deb")):
        _extract(archive, tree)


def _download(packages: Sequence[str], directory: Path) -> None:
    """Have apt put the archives of packages and of their libraries into a directory."""
    command = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download"]
    _run([*command, *_with_libraries(packages)], cwd=directory)


def _with_libraries(packages: Sequence[str]) -> list[str]:
    """The packages and every library below them, by name."""
    options = [f"--no-{kind}" for kind in DEPENDENCY_KINDS]
    done = _run(["apt-cache", "depends", "--recurse", *options, *packages])
    dependencies = _parse_dependencies(done.stdout)
    found: set[str] = set()
    waiting = list(packages)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += [d for d in dependencies.get(name, []) if LIBRARY.match(d)]
    return sorted(found)


def _parse_dependencies(text: str) -> dict[str, list[str]]:
    """What `apt-cache depends` prints; of alternatives (`|`) the first counts."""
    found: dict[str, list[str]] = {}
    current: list[str] = []
    is_alternative = False
    for line in text.splitlines():
        match = re.fullmatch(r" ([ |])(?:Pre)?Depends: (\S+)", line)
        if match:
            if not is_alternative:
                current.append(match[2])
            is_alternative = match[1] == "|"
        elif line and not line[0].isspace():
            current = found.setdefault(line, [])
            is_alternative = False
    return found


def _extract(archive: Path, tree: Path) -> None:
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", archive], stdout=subprocess.PIPE) as deb:
        assert deb.stdout is not None
        _run(["tar", "-xC", str(tree), "--keep-directory-symlink"], stdin=deb.stdout)
    if deb.returncode:
        raise PackageError(f"{archive.name} is not a readable package")


def _run(
    command: Sequence[str], cwd: Path | None = None, stdin: int | IO[bytes] = subprocess.DEVNULL
) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            cwd=cwd,
            stdin=stdin,
            text=True,
            capture_output=True,
            check=True,
            timeout=FETCH_TIMEOUT_S,
        )
    except subprocess.CalledProcessError as error:
        raise PackageError(f"{' '.join(command)[:200]}: {error.stderr.strip()}") from error
    except subprocess.TimeoutExpired as error:
        raise PackageError(f"{' '.join(command)[:200]}: no end in {FETCH_TIMEOUT_S} s") from error
