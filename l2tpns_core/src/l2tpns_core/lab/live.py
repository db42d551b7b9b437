"""A real daemon between namespaces for the tests of plugins: the same as lab.world, with a kernel.

    @pytest.mark.lns(plugins=["garden"])
    def test_a_wrong_password(lns_site):
        lns_site.add_user("alice", "right")
        lns_site.dial("alice", "wrong")
        assert lns_site.show("show session")[0]["walled_garden"]

It needs root, or what root may do, /dev/net/tun, and a second or two.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from l2tpns_core.lab.client import CallOptions, Client
from l2tpns_core.lab.lac import Lac, LacOptions
from l2tpns_core.lab.netns import LabError
from l2tpns_core.lab.ppp import PppOptions
from l2tpns_core.lab.radius_users import RadiusUser
from l2tpns_core.lab.site import HOST_ADDRESS, LAC_ADDRESS, LNS_ADDRESS, Site
from l2tpns_core.lab.tunnel import Tunnel

DEFAULT_PASSWORD: Final = "secret"
PATIENCE_S: Final = 15.0
POLL_S: Final = 0.02

T = TypeVar("T")


class LiveSite:
    """A daemon, a RADIUS server, a LAC and a host behind the LNS (lab.site). Methods block.

    Everybody may log in with DEFAULT_PASSWORD until a user is added; then only those.
    """

    host = HOST_ADDRESS
    """A host behind the LNS that answers pings."""

    def __init__(
        self,
        directory: Path,
        plugins: Iterable[str] = (),
        settings: str = "",
        **directives: object,
    ) -> None:
        """`settings` is the text of plugins.toml."""
        self.users: dict[str, RadiusUser] = {"*": RadiusUser(DEFAULT_PASSWORD)}
        self._directory = directory
        self._settings = settings
        self.site = _PluginSite(directory, self.users, list(plugins), **{"debug": 3, **directives})
        self._runner = asyncio.Runner()
        self._stack = ExitStack()
        self._tunnel: Tunnel | None = None

    def __enter__(self) -> Self:
        """Raises LabError when the system does not allow it, or the daemon does not start."""
        if self._settings:
            (self._directory / "plugins.toml").write_text(self._settings)
        with ExitStack() as stack:
            stack.enter_context(self._runner)
            self._runner.run(self._open())
            stack.callback(lambda: self._runner.run(self._close()))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def add_user(
        self, name: str, password: str = DEFAULT_PASSWORD, avpairs: Iterable[str] = ()
    ) -> None:
        """Have RADIUS know a user. `avpairs` are the values of Cisco-AVPairs."""
        self.users.pop("*", None)
        pairs = list(avpairs)
        self.users[name] = RadiusUser(password, {"Cisco-AVPair": pairs} if pairs else {})

    def dial(self, user: str = "alice", password: str = DEFAULT_PASSWORD) -> Client:
        """Have a subscriber call and log in by PAP. Raises CallError when it does not get in."""
        return self.run(self._dial(user, password))

    def ping(self, client: Client, size: int = 64) -> bool:
        """Whether the host answers a ping of a subscriber."""
        wanted = client.echo_replies + 1
        client.ping(self.host, size)
        try:
            self.wait_until(lambda: client.echo_replies >= wanted, 2.0)
        except LabError:
            return False
        return True

    def show(self, command: str) -> Any:
        """The JSON answer to a command of the shell. Raises LabError."""
        return self.site.show(command)

    def wait_until(self, condition: Callable[[], object], seconds: float = PATIENCE_S) -> None:
        """Wait for something to happen. Raises LabError when it does not."""

        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise LabError(f"it has not happened within {seconds:g} s")
            self.run(asyncio.sleep(POLL_S))

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop of LAC and RADIUS server."""
        return self._runner.run(coroutine)

    def log(self) -> str:
        """What the daemon has logged so far."""
        return self.site.log()

    async def _open(self) -> None:
        self.site.__enter__()

    async def _close(self) -> None:
        if self._tunnel is not None:
            self._tunnel.lac.close()
        self.site.__exit__(None, None, None)

    async def _dial(self, user: str, password: str) -> Client:
        if self._tunnel is None:
            options = LacOptions(
                lns=LNS_ADDRESS, bind=LAC_ADDRESS, make_socket=self.site.lac.udp_socket
            )
            self._tunnel = await Lac(options).open_tunnel()
        ppp = PppOptions(user=user, password=password, auth=("pap",))
        client = self._tunnel.call(CallOptions(ppp=ppp))
        await asyncio.wait_for(client.up, PATIENCE_S)
        return client


class _PluginSite(Site):
    """A Site whose startup-config loads plugins."""

    def __init__(
        self,
        directory: Path,
        users: dict[str, RadiusUser],
        plugins: list[str],
        **directives: Any,
    ) -> None:
        super().__init__(directory, users, **directives)
        self._plugins = plugins

    def write_config(self, **directives: object) -> None:
        super().write_config(**directives)
        with (self.directory / "startup-config").open("a") as file:
            file.writelines(f'load plugin "{name}"\n' for name in self._plugins)
