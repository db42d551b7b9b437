"""`show dataplane`: what operators see of the plane."""

import json
from dataclasses import replace

import pytest

from l2tpns_core.cli.grammar import Access, Mode
from l2tpns_core.observe.plane_report import KernelReport, PlaneReport
from unit.cli.fakes import FakeContext

KERNEL = KernelReport(
    sessions=2,
    max_sessions=1000,
    interfaces={"eth1": "tcx"},
    lacs={"192.0.2.2": "eth1", "192.0.2.77": "eth1 by 192.0.2.254"},
    hits={"up": 1200, "down": 3400},
    past_the_stack={"up": 1000, "down": 3000},
    punts={"up control": 7, "down control": 0, "down too_big": 2, "up fragment": 0},
    drops={"up source_spoofed": 5, "up throttled": 3, "down throttled": 4},
    other={"mss_clamped": 6, "packets_snooped": 9, "copies_to_user_space": 1, "up_echo": 0},
    programs={"l2tp_up": (8480, 4845), "l2tp_down": (6992, 3962)},
    maps={"sessions": 4096, "counters": 8192},
    pins="/sys/fs/bpf/l2tpns/4026531840/pins",
    direct=False,
    obstacle="somebody captures packets",
)
REPORT = PlaneReport("ebpf", "auto", "", "tun0", 2, {"up": 7, "down": 2}, KERNEL)
USER_ONLY = PlaneReport(
    "user", "auto", "loading the programs: EPERM", "tun0", 2, {"up": 1, "down": 2}
)

ANYBODY = Access(Mode.EXEC, privileged=False)

SCREEN = """\
Data plane         eBPF in the kernel, user space for what it leaves
dataplane is       auto
TUN device         tun0
LAC interfaces     eth1 (tcx)
Outlives us in     /sys/fs/bpf/l2tpns/4026531840/pins
Past the IP stack  no: somebody captures packets
Sessions           2 of 1000
LAC 192.0.2.2      eth1
LAC 192.0.2.77     eth1 by 192.0.2.254

Packets                                   Up          Down
in the kernel                           1200          3400
of these past the IP stack              1000          3000
in the process                             7             2

Left to the process                       Up          Down
control                                    7             -
too big                                    -             2

Dropped                                   Up          Down
source spoofed                             5             -
throttled                                  3             4

Also                                 Packets
mss clamped                                6

Program                                Bytes  Machine code
l2tp_up                                 8480          4845
l2tp_down                               6992          3962

Map                                    Bytes
sessions                                4096
counters                                8192
together                               12288"""


@pytest.fixture
def context() -> FakeContext:
    context = FakeContext()
    context.plane = REPORT
    return context


def test_screen(context: FakeContext) -> None:
    assert context.run("show dataplane", access=ANYBODY).text == SCREEN


def test_only_privileged_operators_see_that_packets_are_copied(context: FakeContext) -> None:
    assert "packets snooped" in context.run("show dataplane").text
    assert "copies to user space" in context.run("show dataplane").text
    assert "packets_snooped" in context.run("show dataplane", json=True).text
    for as_json in (False, True):
        text = context.run("show dataplane", json=as_json, access=ANYBODY).text
        assert "snoop" not in text
        assert "copies" not in text


@pytest.mark.parametrize(
    ("direct", "obstacle", "shown"), [(True, "", "yes"), (False, "", "no"), (False, "x", "no: x")]
)
def test_whether_packets_pass_by_the_stack(
    context: FakeContext, direct: bool, obstacle: str, shown: str
) -> None:
    kernel = replace(KERNEL, direct=direct, obstacle=obstacle)
    context.plane = replace(REPORT, kernel=kernel)
    assert f"Past the IP stack  {shown}" in context.run("show dataplane").lines


def test_json_has_everything(context: FakeContext) -> None:
    data = json.loads(context.run("show dataplane", json=True).text)
    assert (data["plane"], data["wanted"], data["process"]) == (
        "ebpf",
        "auto",
        {"up": 7, "down": 2},
    )
    kernel = data["kernel"]
    assert kernel["hits"] == {"up": 1200, "down": 3400}
    assert kernel["punts"]["up fragment"] == 0
    assert kernel["programs"]["l2tp_up"] == {"verified": 8480, "machine_code": 4845}
    assert kernel["memory"] == 12288


def test_user_space_says_why(context: FakeContext) -> None:
    context.plane = USER_ONLY
    assert context.run("show dataplane").lines == [
        "Data plane         user space",
        "dataplane is       auto",
        "Not eBPF because   loading the programs: EPERM",
        "TUN device         tun0",
        "Sessions           2",
        "",
        "Packets                                   Up          Down",
        "in the process                             1             2",
    ]
    assert json.loads(context.run("show dataplane", json=True).text)["kernel"] is None
