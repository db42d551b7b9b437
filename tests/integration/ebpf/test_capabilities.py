"""What the daemon must be allowed to do, and no more."""

import sys

import pytest

from l2tpns_core.lab.netns import Namespace

pytestmark = pytest.mark.netns

# By number, as some setpriv do not know the name: CAP_NET_ADMIN and CAP_BPF.
ENOUGH = "-all,+cap_12,+cap_39"
PROGRAM = """
import socket
from l2tpns_core.dataplane.ebpf.fastpath import FastPath, FastPathOptions
from l2tpns_core.net.tun_device import TunDevice
device = TunDevice("tun0")
fast = FastPath.open(FastPathOptions(max_sessions=10))
fast.attach_tun(socket.if_nametoindex("tun0"))
fast.attach(socket.if_nametoindex("lo"))
print(*fast.statistics().programs)
fast.close()
"""


def test_two_capabilities_are_enough() -> None:
    limits = ["setpriv", "--bounding-set", ENOUGH, "--inh-caps", ENOUGH]
    with Namespace("few") as namespace:
        done = namespace.run([*limits, sys.executable, "-c", PROGRAM], check=False)
    assert done.stdout.split() == ["l2tp_up", "l2tp_down", "l2tp_in"], done.stderr
