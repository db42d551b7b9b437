"""Imports run one way: protocols know nothing of us, only the daemon knows everyone.

A unit is a package or module right below l2tpns_core, or one of their modules that stands by itself
because others may know it without knowing the rest. An import inside a function or under
TYPE_CHECKING counts like any other.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import l2tpns_core

ROOT = Path(l2tpns_core.__file__).parent

ALLOWED: dict[str, set[str]] = {
    # the protocols: bytes and the time in, bytes and events out
    "l2tp": set(),
    "ppp": set(),
    # what everyone may build on
    "timers": set(),
    "addresses": set(),
    "access_lists": set(),
    "observe": set(),
    "radius.model": set(),
    "dataplane.plane": {"access_lists"},
    "life": set(),
    "session": {"l2tp", "life", "ppp", "timers", "dataplane.plane"},
    # the parts, which do not know each other
    "config": {"observe", "access_lists"},
    "plugins": {"session", "radius.model", "l2tp", "dataplane.plane"},
    "radius": {"radius.model", "observe", "timers"},
    "dataplane": {"dataplane.plane", "access_lists", "l2tp", "timers", "observe"},
    "net": {"observe"},
    # the LNS, which knows RADIUS and the data plane by their interfaces only
    "lns": {
        "access_lists",
        "l2tp",
        "life",
        "ppp",
        "session",
        "timers",
        "addresses",
        "config",
        "plugins",
        "radius.model",
        "dataplane.plane",
    },
    # what an operator sees; it is handed the daemon's objects and does not know how they are made
    "cli": {
        "access_lists",
        "capabilities",
        "l2tp",
        "life",
        "ppp",
        "session",
        "addresses",
        "config",
        "plugins",
        "radius.model",
        "dataplane.plane",
        "observe",
    },
    "control": {"session", "config", "plugins", "observe"},
    # what can be said of files without a daemon
    "check": {"config", "observe", "plugins", "rights", "startup"},
    "options": {"check", "config"},
    # what the daemon gives the operator's commands to work on
    "console": {
        "access_lists",
        "cli",
        "config",
        "dataplane",
        "lns",
        "observe",
        "plugins",
        "radius",
        "routing",
    },
    # what Prometheus is told of the same parts
    "metrics": {
        "control",
        "dataplane",
        "l2tp",
        "lns",
        "observe",
        "ppp",
        "radius",
        "session",
        "state",
    },
    # what the daemon gives plugins to work on
    "plugin_host": {"lns", "plugins"},
    # what the daemon needs of the system
    "startup": {"config", "dataplane", "lns", "net", "radius"},
    "capabilities": set(),
    "rights": {"capabilities", "config", "dataplane", "observe", "startup"},
    "realtime": {"capabilities", "config"},
    "service": set(),
    # what outlives the process
    "state": {"l2tp", "ppp", "session", "dataplane.plane", "radius.model", "lns"},
    # who decides among several nodes, and how the others come to know what it knows
    "cluster": {"session", "state"},
    "cluster.transport": {"cluster"},
    # election in etcd: what follows from what etcd says, and then who asks it
    "cluster_etcd.errors": set(),
    "cluster_etcd.records": {"cluster_etcd.errors"},
    "cluster_etcd.election": {"cluster_etcd.records"},
    "cluster_etcd": {
        "cluster",
        "cluster.transport",
        "cluster_etcd.election",
        "cluster_etcd.errors",
        "cluster_etcd.records",
        "config",
    },
    # what the daemon does as a node of a cluster
    "clustering": {
        "cli",
        "cluster",
        "cluster.transport",
        "cluster_etcd",
        "cluster_etcd.records",
        "config",
        "control",
        "dataplane",
        "dataplane.plane",
        "l2tp",
        "lns",
        "observe",
        "plugins",
        "ppp",
        "radius",
        "radius.model",
        "restart",
        "session",
        "startup",
        "state",
    },
    # who tells routers of it
    "routing": {"config", "observe", "startup"},
    # what the daemon does with it
    "restart": {"config", "dataplane", "lns", "startup", "state"},
    # the plane that it takes, and what is told of it
    "planes": {"config", "dataplane", "net", "observe", "startup"},
    # the other side of the wire, written apart so that a mistake does not cancel itself out
    "lab": {"timers"},
    # the LNS in memory, for tests of ours and of plugins
    "lab.memory": {
        "addresses",
        "config",
        "dataplane",
        "lns",
        "plugins",
        "radius.model",
    },
    "lab.world": {
        "control",
        "dataplane.plane",
        "lab",
        "lab.memory",
        "plugin_host",
        "plugins",
        "radius",
        "radius.model",
        "session",
    },
    # the LNS measured: one end of the line is the fast path the other way round
    "lab.bench": {"dataplane", "dataplane.plane", "lab", "net"},
    "lab.main": {"lab", "lab.bench"},
    # what pytest imports by itself
    "pytest_plugin": {"lab", "lab.world"},
}

KNOWS_EVERYONE = {"daemon"}

PURE_UNITS = {
    "l2tp",
    "ppp",
    "timers",
    "addresses",
    "access_lists",
    "life",
    "session",
    "radius.model",
    "dataplane.plane",
    "cluster",
    "cluster_etcd.election",
}
"""Units that import nothing but PURE_MODULES of the standard library: no I/O, clock or log."""

PURE_MODULES = {
    "abc",
    "array",
    "bisect",
    "collections",
    "contextlib",
    "dataclasses",
    "enum",
    "functools",
    "hashlib",
    "heapq",
    "hmac",
    "ipaddress",
    "itertools",
    "math",
    "operator",
    "re",
    "struct",
    "types",
    "typing",
    "zlib",
}

TOLD_EVERYTHING = {"lns"}
"""Units that may log, but are told the time and hand over what is to be sent."""

IO_MODULES = {
    "asyncio",
    "concurrent",
    "fcntl",
    "multiprocessing",
    "os",
    "pathlib",
    "select",
    "selectors",
    "signal",
    "socket",
    "subprocess",
    "threading",
    "time",
    "pyrad",
    "pyroute2",
}


def unit_of(module: str) -> str:
    """The unit that a module belongs to; "" for l2tpns_core itself."""
    parts = module.split(".")[1:]
    return next(
        (name for n in (2, 1) if (name := ".".join(parts[:n])) in {*ALLOWED, *KNOWS_EVERYONE}),
        ".".join(parts[:1]),
    )


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split(".")[1:])
    return path.with_suffix(".py").is_file() or path.is_dir()


def imports_of(source: str, package: str) -> Iterator[str]:
    """The full names of all modules that a source text in a package imports."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *filter(None, [base])])
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                ours = base.split(".")[0] == ROOT.name
                yield inner if ours and is_module(inner) else base


def all_imports() -> Iterator[tuple[str, str]]:
    """Every import in the package as (importing module, imported module)."""
    for path in sorted(ROOT.rglob("*.py")):
        parts = [ROOT.name, *path.relative_to(ROOT).with_suffix("").parts]
        package = ".".join(parts[:-1])
        module = package if parts[-1] == "__init__" else ".".join(parts)
        for name in imports_of(path.read_text(), package):
            yield module, name


IMPORTS = list(all_imports())


def offences(forbidden: object) -> list[str]:
    assert callable(forbidden)
    return sorted({f"{a} imports {b}" for a, b in IMPORTS if forbidden(unit_of(a), b)})


def is_ours(name: str) -> bool:
    return name.split(".")[0] == ROOT.name


def test_every_unit_has_a_rule() -> None:
    found = {unit_of(module) for module, _ in IMPORTS} - {""}
    assert found - {*ALLOWED, *KNOWS_EVERYONE} == set(), "say in ALLOWED what these may import"


def test_units_import_only_what_is_allowed_to_them() -> None:
    def forbidden(unit: str, name: str) -> bool:
        if not is_ours(name) or unit in KNOWS_EVERYONE:
            return False
        return unit_of(name) not in {"", unit, *ALLOWED.get(unit, ())}

    assert offences(forbidden) == []


def test_pure_units_import_only_pure_modules() -> None:
    def forbidden(unit: str, name: str) -> bool:
        return unit in PURE_UNITS and not is_ours(name) and name.split(".")[0] not in PURE_MODULES

    assert offences(forbidden) == []


def test_the_lns_opens_no_socket_and_asks_no_clock() -> None:
    def forbidden(unit: str, name: str) -> bool:
        return unit in TOLD_EVERYTHING and name.split(".")[0] in IO_MODULES

    assert offences(forbidden) == []


def test_the_rules_have_no_circle() -> None:
    done: set[str] = set()
    while len(done) < len(ALLOWED):
        ready = {unit for unit, needs in ALLOWED.items() if unit not in done and needs <= done}
        assert ready, f"a circle among {set(ALLOWED) - done}"
        done |= ready


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import socket", "socket"),
        ("import os.path as p", "os.path"),
        ("from asyncio import sleep", "asyncio"),
        ("from l2tpns_core.session import Session", "l2tpns_core.session"),
        ("from l2tpns_core import session", "l2tpns_core.session"),
        ("from l2tpns_core import __version__", "l2tpns_core"),
        ("from . import plane", "l2tpns_core.dataplane.plane"),
        ("from .plane import Peer", "l2tpns_core.dataplane.plane"),
        ("from .. import session", "l2tpns_core.session"),
        ("from ..radius.model import Usage", "l2tpns_core.radius.model"),
        ("def f():\n    import time", "time"),
        ("if TYPE_CHECKING:\n    from l2tpns_core import session", "l2tpns_core.session"),
    ],
)
def test_no_kind_of_import_is_overlooked(source: str, expected: str) -> None:
    assert list(imports_of(source, "l2tpns_core.dataplane")) == [expected]


def test_units_are_found_for_modules_at_any_depth() -> None:
    assert unit_of("l2tpns_core") == ""
    assert unit_of("l2tpns_core.daemon") == "daemon"
    assert unit_of("l2tpns_core.radius") == "radius"
    assert unit_of("l2tpns_core.radius.model") == "radius.model"
    assert unit_of("l2tpns_core.radius.client") == "radius"
    assert unit_of("l2tpns_core.cli.commands.show") == "cli"
    assert unit_of("l2tpns_core.new.thing") == "new"


def test_pure_modules_are_of_the_standard_library() -> None:
    assert set(sys.stdlib_module_names) >= PURE_MODULES
