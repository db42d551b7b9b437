"""Network namespaces for labs and tests."""

import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from l2tpns_core.lab import netns
from l2tpns_core.lab.netns import LabError, Namespace, check_tun, veth

pytestmark = pytest.mark.netns


def namespace_of(pid: int | str) -> int:
    return os.stat(f"/proc/{pid}/ns/net").st_ino


def test_a_namespace_is_another_one_and_its_loopback_is_up() -> None:
    with Namespace("probe") as namespace:
        assert namespace.call(namespace_of, "thread-self") != namespace_of("self")
        with namespace.udp_socket("127.0.0.1") as sock:
            sock.sendto(b"hello", sock.getsockname())
            assert sock.recv(10) == b"hello"


def test_two_namespaces_are_joined_by_a_cable() -> None:
    with Namespace("a") as a, Namespace("b") as b:
        veth(a, "left", "192.0.2.1/24", b, "right", "192.0.2.2/24", mtu=1400)
        with a.udp_socket("192.0.2.1") as sender, b.udp_socket("192.0.2.2", 99) as receiver:
            receiver.setblocking(True)
            receiver.settimeout(5)
            sender.sendto(b"hello", ("192.0.2.2", 99))
            assert receiver.recvfrom(10) == (b"hello", sender.getsockname())
        with b.links() as links:
            index = links.link_lookup(ifname="right")[0]
            assert links.link("get", index=index)[0].get_attr("IFLA_MTU") == 1400


def test_packets_are_forwarded_over_routes() -> None:
    with Namespace("a") as a, Namespace("r") as router, Namespace("b") as b:
        veth(a, "eth0", "192.0.2.1/24", router, "a", "192.0.2.2/24")
        veth(router, "b", "198.51.100.2/24", b, "eth0", "198.51.100.1/24")
        a.add_route("default", "192.0.2.2")
        b.add_route("192.0.2.0/24", "198.51.100.2")
        router.forward()
        with a.udp_socket("192.0.2.1") as sender, b.udp_socket("198.51.100.1", 99) as receiver:
            receiver.settimeout(5)
            sender.sendto(b"hello", ("198.51.100.1", 99))
            assert receiver.recv(10) == b"hello"


def test_commands_run_inside_and_their_output_comes_back() -> None:
    with Namespace("probe") as namespace:
        code = "import os; print(os.stat('/proc/self/ns/net').st_ino)"
        result = namespace.run([sys.executable, "-c", code])
        assert int(result.stdout) == namespace.call(namespace_of, "thread-self")
        with pytest.raises(subprocess.CalledProcessError):
            namespace.run([sys.executable, "-c", "raise SystemExit(3)"])


def test_what_a_function_raises_comes_back() -> None:
    with Namespace("probe") as namespace, pytest.raises(LabError, match="no such link: eth7"):
        namespace.set_up("eth7")


def test_a_child_does_not_outlive_its_parent() -> None:
    script = (
        "import sys\n"
        "from l2tpns_core.lab.netns import Namespace\n"
        "with Namespace() as namespace:\n"
        "    child = namespace.popen(['sleep', '1000'])\n"
        "    print(child.pid, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    descriptor = os.pidfd_open(child)
    parent.kill()
    parent.communicate()
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    assert poll.poll(5000), "the child lives on"
    os.close(descriptor)


def test_a_tun_device_can_be_tried() -> None:
    with Namespace("probe") as namespace:
        check_tun(namespace)
        with namespace.links() as links:
            names = [link.get_attr("IFLA_IFNAME") for link in links.get_links()]
        assert names == ["lo"]  # the trial leaves nothing behind


def test_a_missing_tun_device_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netns, "TUN_DEVICE", Path("/dev/net/no-such"))
    with Namespace("probe") as namespace, pytest.raises(LabError, match="modprobe tun"):
        check_tun(namespace)
