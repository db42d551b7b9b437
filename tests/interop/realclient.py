"""A real L2TP client: Linux with its kernel's L2TP and PPP, xl2tpd and pppd, all from Debian.

It is a User-Mode-Linux guest, one process of this machine, on a tap device in the namespace of the
LNS. `guest-init.sh` is its first process; both sides share a directory.
"""

import contextlib
import itertools
import os
import shutil
import signal
from pathlib import Path

from interop import debian
from interop.clientsession import ClientSession, Lac
from interop.namespaces import Child, Namespace, wait_for

PACKAGES = (
    *("user-mode-linux", "bash", "busybox-static", "util-linux"),
    *("ppp", "xl2tpd", "iperf3", "curl"),
)
PROGRAMS = (
    "/bin/bash",
    "/usr/sbin/pppd",
    "/usr/sbin/xl2tpd",
    "/usr/bin/iperf3",
    "/usr/bin/curl",
    "/usr/bin/setarch",
)
MOUNT_POINTS = ("proc", "sys", "dev", "run", "tmp", "var", "etc", "host", "lib/modules")
TAP = "lac0"
MEMORY = "160M"
BOOT_TIMEOUT_S = 60
COMMAND_TIMEOUT_S = 30
DIAL_TIMEOUT_S = 20
METHODS = {"pap": "pap", "chap": "chap", "mschap": "mschap", "mschapv2": "mschap-v2"}
FIRST_PORT = 1701
"""The UDP port of the first tunnel. The guest's kernel cannot tell two tunnels between the same
addresses and ports apart, so a tunnel beside another takes the next port."""


def package_tree() -> debian.PackageTree:
    """The programs of the guest; its iperf3 also serves outside."""
    return debian.unpack(PACKAGES, PROGRAMS, empty=MOUNT_POINTS)


class RealClient:
    """A booted guest at `address`, which dials the LNS at `lns`; `prefix` is their network's."""

    def __init__(
        self, namespace: Namespace, directory: Path, lns: str, address: str, prefix: int
    ) -> None:
        self.lns = lns
        self.directory = directory
        self._namespace = namespace
        self._numbers = itertools.count(1)
        self._lacs: list[Lac] = []
        tree = package_tree()
        for name in ("commands", "dials"):
            (directory / name).mkdir()
        shutil.copy(Path(__file__).with_name("guest-init.sh"), directory / "init.sh")
        namespace.ip("tuntap", "add", TAP, "mode", "tap")
        namespace.ip("addr", "add", f"{lns}/{prefix}", "dev", TAP)
        namespace.ip("link", "set", TAP, "txqueuelen", "10000", "up")
        command = namespace.command(*self._kernel(tree.path, f"{address}/{prefix}"))
        environment = {"PATH": os.environ["PATH"], "HOME": str(directory)}
        self._child = Child(command, directory / "console", environment, own_pids=True)
        try:
            wait_for(self._is_settled, BOOT_TIMEOUT_S, "sign of life from the client guest")
            if not (directory / "ready").exists():
                raise RuntimeError(
                    f"the client guest did not boot:\n{self._child.output()[-2000:]}"
                )
        except BaseException:
            self.close()
            raise

    def _kernel(self, root: Path, address: str) -> list[str]:
        """User-Mode-Linux and its kernel command line; what follows `--` is for its init."""
        start = f"/bin/busybox mount -t hostfs none /host -o {self.directory}"
        last_cpu = max(os.sched_getaffinity(0))
        return [
            *("taskset", "-c", str(last_cpu), f"{root}/usr/bin/linux.uml", f"mem={MEMORY}"),
            *("root=/dev/root", "rootfstype=hostfs", f"rootflags={root}", "ro", "quiet"),
            *("con=null", "con0=null,fd:1", "ssl=null", f"uml_dir={self.directory}/", "umid=guest"),
            f"vec0:transport=tap,ifname={TAP},depth=128,gro=0",
            *(f"address={address}", "init=/bin/busybox", "--", "sh", "-c"),
            f'"{start} && exec /bin/bash /host/init.sh"',
        ]

    def _is_settled(self) -> bool:
        return (self.directory / "ready").exists() or not self._child.is_running()

    def run(self, snippet: str, timeout_s: float = COMMAND_TIMEOUT_S) -> str:
        """Run a shell snippet in the guest and return its output; RuntimeError when it fails."""
        base = self.directory / "commands" / f"{next(self._numbers):04}"
        draft, status = base.with_suffix(".draft"), base.with_suffix(".status")
        draft.write_text(snippet + "\n")
        draft.rename(base.with_suffix(".sh"))
        wait_for(
            lambda: status.exists() or not self._child.is_running(),
            timeout_s,
            f"end of {snippet!r} in the client guest",
        )
        if not status.exists():
            raise RuntimeError(f"the client guest died:\n{self._child.output()[-2000:]}")
        output = base.with_suffix(".out").read_text(errors="replace")
        if status.read_text() != "0\n":
            raise RuntimeError(f"{snippet!r} in the client guest: {status.read_text()}{output}")
        return output

    def dial(
        self,
        user: str,
        password: str,
        auth: str = "chap",
        *,
        secret: str = "",
        hide_avps: bool = False,
        userland: bool = False,
        beside: ClientSession | None = None,
    ) -> ClientSession:
        """Bring up one PPP session, or try to: what is returned is up, or over. close() it.

        `auth` is what the client is willing to use: pap, chap or mschapv2. With `secret` it
        challenges the LNS, `hide_avps` hides AVPs by it. `userland` has xl2tpd relay to pppd
        over a pty instead of the kernel. The call gets a tunnel of its own, or goes `beside`
        another session on its tunnel."""
        name = f"d{next(self._numbers)}"
        directory = self.directory / "dials" / name
        directory.mkdir()
        (directory / "options").write_text(self._pppd_options(name, user, password, auth))
        if beside is not None:
            lac = beside.lac
        else:
            lac = Lac(name, directory / "xl2tpd.log", self._free_port())
            self._lacs.append(lac)
            (directory / "secrets").write_text(f"* * {secret or '*'}\n")
            config = self._xl2tpd_config(lac, bool(secret), hide_avps, userland)
            (directory / "xl2tpd.conf").write_text(config)
        session = ClientSession(self, name, lac)
        try:
            session.connect(DIAL_TIMEOUT_S)
        except BaseException:
            session.close()
            raise
        return session

    def _xl2tpd_config(self, lac: Lac, challenge: bool, hide_avps: bool, userland: bool) -> str:
        settings = {
            "port": str(lac.port),
            "auth file": f"/host/dials/{lac.name}/secrets",
            "force userspace": _yes(userland),
            "debug tunnel": "yes",
            "debug state": "yes",
        }
        tunnel = {
            "lns": self.lns,
            "pppoptfile": f"/host/dials/{lac.name}/options",
            "length bit": "yes",
            "challenge": _yes(challenge),
            "hidden bit": _yes(hide_avps),
        }
        return _section("global", settings) + _section(f"lac {lac.name}", tunnel)

    @staticmethod
    def _pppd_options(name: str, user: str, password: str, auth: str) -> str:
        refused = [f"refuse-{option}" for method, option in METHODS.items() if method != auth]
        options = [f'name "{user}"', f'password "{password}"', "noauth", *refused, "refuse-eap"]
        options += [f"linkname {name}", f"ipparam {name}", f"logfile /host/dials/{name}/log"]
        options += ["debug", "usepeerdns", "noccp", "noipv6", "nodefaultroute"]
        options += ["ipcp-accept-local", "ipcp-accept-remote"]
        return "\n".join([*options, ""])

    def _free_port(self) -> int:
        used = {lac.port for lac in self._lacs}
        return next(port for port in itertools.count(FIRST_PORT) if port not in used)

    def release(self, lac: Lac) -> None:
        """End an xl2tpd and with it its tunnel; doing it again does no harm."""
        if lac in self._lacs:
            self.run(f"stop_lac {lac.name}")
            self._lacs.remove(lac)

    def close(self) -> None:
        """Switch the guest off and remove its network device."""
        self._child.stop(signal.SIGKILL)
        with contextlib.suppress(RuntimeError):
            self._namespace.ip("link", "del", TAP)


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _section(title: str, settings: dict[str, str]) -> str:
    lines = [f"{name} = {value}" for name, value in settings.items()]
    return "\n".join([f"[{title}]", *lines, ""])
