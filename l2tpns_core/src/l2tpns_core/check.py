"""`l2tpns --check`: what is wrong with a configuration, all of it at once, without starting.

Errors are what a start would refuse or leave out; warnings are what it would do although it is
hardly meant.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import Final

from l2tpns_core.config.directives import Config
from l2tpns_core.config.errors import Problem
from l2tpns_core.config.pool import load_pool
from l2tpns_core.config.startup_config import LoadResult, load
from l2tpns_core.config.users import read_users
from l2tpns_core.observe.syslog import SYSLOG_PREFIX
from l2tpns_core.plugins.discovery import PluginError, available, describe, find, import_class
from l2tpns_core.plugins.settings import FILE_NAME, SettingsError, SettingsFile, SettingsTables
from l2tpns_core.plugins.watch import FAILURES
from l2tpns_core.rights import find_user
from l2tpns_core.startup import StartError

NO_ADDRESS: Final = IPv4Address(0)


@dataclass(slots=True, frozen=True)
class Finding:
    """One line of the report."""

    file: str
    line: int
    """Counted from 1; 0 when it is about the file as a whole."""
    message: str

    def text(self, kind: str) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {kind}: {self.message}"


@dataclass(slots=True)
class Report:
    """All that was found."""

    file: str
    errors: list[Finding] = field(default_factory=list)
    warnings: list[Finding] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """For people."""
        for kind, findings in (("error", self.errors), ("warning", self.warnings)):
            for finding in sorted(findings, key=lambda each: (each.file, each.line)):
                yield finding.text(kind)
        yield f"{self.file}: {_count(self.errors, 'error')}, {_count(self.warnings, 'warning')}"

    def json(self) -> str:
        """For scripts."""
        return json.dumps({"ok": not self.errors, **asdict(self)}, indent=2)


def check(path: Path) -> Report:
    """Look at a startup-config and at the files beside it. Nothing is opened for writing."""
    report = Report(str(path))
    loaded = load(path)
    _take(loaded.problems, report)
    if not loaded.readable:
        return report
    file = str(path)
    report.errors += [Finding(file, 0, text) for text in _contradictions(loaded.config)]
    report.warnings += [Finding(file, 0, text) for text in _oddities(loaded.config)]
    _check_places(loaded.config, file, report)
    _check_pool(path.parent / "ip_pool", loaded.config, report)
    _check_users(path.parent / "users", loaded.config, report)
    _check_plugins(loaded, path.parent, file, report)
    return report


def _take(problems: Iterable[Problem], report: Report) -> None:
    """What the reader of a file found."""
    for each in problems:
        is_mild = each.harmless or each.of_other_release
        findings = report.warnings if is_mild else report.errors
        findings.append(Finding(each.file, each.line, each.message))


def _contradictions(config: Config) -> Iterator[str]:
    """Directives that do not work together."""
    has_server = config.primary_radius != NO_ADDRESS or config.secondary_radius != NO_ADDRESS
    if has_server and not config.radius_secret:
        yield "there is a RADIUS server and no radius_secret: set the secret that it knows us by"
    try:
        find_user(config.setuid)
    except StartError as error:
        yield str(error)
    if config.l2tp_challenge_lac and not config.l2tp_secret:
        yield "l2tp_challenge_lac needs an l2tp_secret that the LACs know too"


def _oddities(config: Config) -> Iterator[str]:
    """Directives that work, but hardly as they are meant."""
    if config.primary_radius == NO_ADDRESS and config.secondary_radius == NO_ADDRESS:
        yield "there is no primary_radius: nobody can log in"
    elif config.primary_radius == NO_ADDRESS:
        yield "there is a secondary_radius and no primary_radius"
    elif config.primary_radius == config.secondary_radius and len(set(config.radius_ports)) == 1:
        yield "primary_radius and secondary_radius are the same server"
    if config.l2tp_hide_avps and not config.l2tp_secret:
        yield "l2tp_hide_avps hides nothing without an l2tp_secret"
    if config.primary_dns == NO_ADDRESS and config.secondary_dns == NO_ADDRESS:
        yield "there is no primary_dns: subscribers are given no DNS server"
    if config.as_number and not (config.bgp_peer1 or config.bgp_peer2):
        yield "there is an as_number, but no bgp_peer1: nothing is announced"
    if (config.bgp_peer1 or config.bgp_peer2) and not config.as_number:
        yield "there is a BGP peer, but no as_number: the daemon does not start"
    if not config.cluster_secret and (config.cluster_nodes or config.cluster_quorum > 1):
        yield "there is no cluster_secret: this server stands alone, whatever else is said"
    if config.secondary_dns != NO_ADDRESS and config.primary_dns == NO_ADDRESS:
        yield "there is a secondary_dns and no primary_dns"
    if config.bind_address == NO_ADDRESS:
        yield (
            "there is no bind_address: LACs may call any address of this machine, and the address "
            "that the RADIUS server sees us by (NAS-IP-Address) is 0.0.0.0"
        )
    if not config.nsctl_bind_address.is_loopback and config.nsctl_port and not config.nsctl_secret:
        yield "nsctl may be used from elsewhere (nsctl_bind_address) and without an nsctl_secret"
    if config.cli_open and not config.cli_bind_address.is_loopback:
        yield "cli_open lets anybody in who reaches cli_bind_address"


def _check_places(config: Config, file: str, report: Report) -> None:
    """Files and directories that must be there, or possible to make."""
    wanted: list[tuple[str, str]] = []
    if config.save_state or (config.accounting_spool_size and not config.accounting_spool):
        wanted.append(("state_dir", config.state_dir))
    if config.accounting_spool and config.accounting_spool_size:
        wanted.append(("accounting_spool", config.accounting_spool))
    if config.accounting_dir:
        wanted.append(("accounting_dir", config.accounting_dir))
    for name, directory in wanted:
        _report(report, file, name, _no_directory(Path(directory)))
    if config.log_file and not config.log_file.startswith(SYSLOG_PREFIX):
        _report(report, file, "log_file", _no_file(Path(config.log_file)))
    if config.pid_file:
        _report(report, file, "pid_file", _no_file(Path(config.pid_file)))


def _report(report: Report, file: str, name: str, why: str) -> None:
    if why:
        report.errors.append(Finding(file, 0, f"{name}: {why}"))


def _no_directory(directory: Path) -> str:
    """Why this user cannot write into a directory, which may be yet to be made."""
    there = directory
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        return f"{there} is not a directory"
    if not os.access(there, os.W_OK | os.X_OK):
        return f"{there} may not be written to by this user"
    return ""


def _no_file(path: Path) -> str:
    """Why this user cannot write a file."""
    if path.is_dir():
        return f"{path} is a directory"
    if path.exists():
        return "" if os.access(path, os.W_OK) else f"{path} may not be written to by this user"
    if not path.parent.is_dir():
        return f"there is no directory {path.parent}"
    return _no_directory(path.parent)


def _check_pool(path: Path, config: Config, report: Report) -> None:
    pool = load_pool(path, config.bind_address)
    if not pool.readable:
        report.warnings.append(
            Finding(str(path), 0, "is not there: only users whose address RADIUS tells get one")
        )
        return
    _take(pool.problems, report)
    if not pool.addresses:
        report.warnings.append(Finding(str(path), 0, "has no addresses"))


def _check_users(path: Path, config: Config, report: Report) -> None:
    """The users of telnet. Who connects from the machine itself needs none."""
    users = read_users(path)
    if not users.exists:
        if config.cli_port and not config.cli_bind_address.is_loopback and not config.cli_open:
            report.warnings.append(Finding(str(path), 0, "is not there: nobody can use telnet"))
        return
    _take(users.problems, report)


def _check_plugins(loaded: LoadResult, directory: Path, file: str, report: Report) -> None:
    """The plugins that are named, and their settings."""
    tables = SettingsTables(directory / FILE_NAME, {})
    try:
        tables = SettingsFile(directory / FILE_NAME).read()
    except SettingsError as error:
        report.errors.append(_about(tables.path, str(error)))
    for name in loaded.plugins:
        try:
            plugin_class = import_class(find(name))
        except PluginError as error:
            report.errors.append(Finding(file, 0, str(error)))
            continue
        schema = getattr(plugin_class, "Settings", None)
        try:
            settings = tables.of(name, schema)
        except PluginError as error:
            report.errors.append(_about(tables.path, str(error)))
            continue
        found = _of_plugin(plugin_class, directory, settings)
        report.errors += [Finding(file, 0, f'plugin "{name}": {text}') for text in found]
    for name in tables.unused({plugin.name for plugin in available()}):
        report.warnings.append(
            Finding(str(tables.path), 0, f"[{name}] is for no plugin that is installed")
        )


def _of_plugin(plugin_class: type, directory: Path, settings: object) -> list[str]:
    """What a plugin itself finds, when it has a `check_files`."""
    looks: Callable[[Path, object], Iterable[str]] | None
    looks = getattr(plugin_class, "check_files", None)
    try:
        return [] if looks is None else [str(text) for text in looks(directory, settings)]
    except FAILURES as error:  # border: not our code
        return [f"check_files() raised {describe(error)}"]


def _about(path: Path, text: str) -> Finding:
    """A sentence that begins with the name of its file."""
    return Finding(str(path), 0, text.removeprefix(f"{path}: "))


def _count(findings: list[Finding], name: str) -> str:
    return f"{len(findings)} {name}{'' if len(findings) == 1 else 's'}"
