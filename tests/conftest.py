"""What holds for all tests: how hard Hypothesis looks, what may be skipped and what may not.

A test that cannot run because of the machine it is on skips itself with a reason that begins with
KERNEL_PREFIX. With the environment variable CI set, a skip for any other reason fails the run.

Daemons that tests start take the best plane that the system has. To see that the tests which start
one (they have the mark `daemon`) pass with the other as well:

    pytest -m daemon --dataplane user
"""

import functools
import os
from collections.abc import Iterator
from typing import Final

import pytest
from hypothesis import HealthCheck, settings

KERNEL_PREFIX: Final = "kernel feature missing:"
DATAPLANE_VARIABLE: Final = "L2TPNS_TEST_DATAPLANE"
"""That of lab.site, which is imported only where it is needed."""

settings.register_profile(
    "gate",
    derandomize=True,
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],  # a busy machine is no finding
)
settings.register_profile("hunt", max_examples=20_000, deadline=None)
settings.load_profile("gate")  # --hypothesis-profile=hunt chooses the other

_skips: dict[str, str] = {}
"""Node id of each skipped test or file, with the reason."""


@functools.cache
def missing_for_netns() -> str:
    """Why network namespaces or TUN devices cannot be had here; "" when they can. Tries it."""
    from l2tpns_core.lab.netns import LabError, Namespace, check_tun

    try:
        with Namespace("probe") as namespace:
            check_tun(namespace)
    except LabError as error:
        return str(error)
    return ""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--dataplane",
        choices=("auto", "ebpf", "user"),
        default="auto",
        help="the directive `dataplane` of daemons that tests start and give no other",
    )


def pytest_configure(config: pytest.Config) -> None:
    # In the environment, which the programs that tests start have as well.
    os.environ[DATAPLANE_VARIABLE] = config.getoption("--dataplane")


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("netns") is not None:
        missing = missing_for_netns()
        if missing:
            pytest.skip(f"{KERNEL_PREFIX} {missing}")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped and not hasattr(report, "wasxfail"):
        _skips[report.nodeid] = _reason_of(report)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.skipped:
        _skips[report.nodeid] = _reason_of(report)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if os.environ.get("CI") and any(_unexcused()) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Nobody shall think that everything was tested when it was not."""
    if not _skips:
        return
    write = terminalreporter.write_line
    terminalreporter.section(f"{len(_skips)} NOT RUN", "!", yellow=True, bold=True)
    by_reason: dict[str, list[str]] = {}
    for name, reason in _skips.items():
        by_reason.setdefault(reason, []).append(name)
    for reason, names in by_reason.items():
        write(reason, yellow=True)
        for name in names:
            write(f"  {name}")
    if os.environ.get("CI") and any(_unexcused()):
        write("CI is set: a skip for any reason but the kernel's fails the run:", red=True)
        for name in _unexcused():
            write(f"  {name}: {_skips[name]}", red=True)


def _unexcused() -> Iterator[str]:
    return (name for name, reason in _skips.items() if not reason.startswith(KERNEL_PREFIX))


def _reason_of(report: pytest.TestReport | pytest.CollectReport) -> str:
    detail = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return detail.removeprefix("Skipped: ")
