"""What is in the gardens: build-garden is run, the gate opened after it, and all of it looked at
from time to time. A garden that could not be filled stays closed.
"""

import asyncio
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from l2tpns_plugins_garden import script
from l2tpns_plugins_garden.firewall import GardenError
from l2tpns_plugins_garden.netlink import NetfilterError
from l2tpns_plugins_garden.settings import Settings
from l2tpns_plugins_garden.worker import Worker

if TYPE_CHECKING:
    from l2tpns_core.plugins import PluginApi


class Filler:
    """Keeps the gardens of a worker filled, from begin() to end()."""

    def __init__(self, api: "PluginApi", settings: Settings) -> None:
        self.settings = settings
        self._api = api
        self._worker: Worker | None = None
        self._run: script.Run | None = None
        self._is_filling = False
        self._must_fill_again = False
        self._has_failed = False
        """build-garden has not done its work, so the gardens are closed."""

    @property
    def script(self) -> Path:
        return self._api.config_directory / self.settings.build_garden

    def begin(self, worker: Worker, *, refill: bool) -> None:
        """The rules are set up; with `refill` the gardens are empty, and closed."""
        self._worker = worker
        if refill:
            self._api.create_task(self._fill(), "build-garden")
        else:
            self._api.log.warning("there is no %s: nothing holds gardened users back", self.script)

    def end(self) -> None:
        """No more of it: build-garden is killed if it runs, since what it makes would stay."""
        self._worker = None
        if self._run is not None:
            self._run.kill()

    def interrupt(self) -> None:
        """What build-garden has done so far is void: it is killed, and begins anew."""
        if self._run is not None:
            self._must_fill_again = True
            self._run.kill()

    def again(self) -> None:
        """The gardens have been emptied and closed: fill them."""
        self._must_fill_again = True
        self._api.create_task(self._fill(), "build-garden")

    def look(self) -> None:
        """Time to check the rules."""
        if self._worker is not None and not self._is_filling:
            self._api.create_task(self._check(self._worker), "garden-check")

    async def _check(self, worker: Worker) -> None:
        try:
            has_lost_rules = await asyncio.wrap_future(worker.submit(worker.firewall.check))
        except (NetfilterError, GardenError) as error:
            self._api.log.error("the garden cannot be checked: %s", error)
            return
        if self._worker is not worker:
            return
        if self._has_failed or (has_lost_rules and self.script.is_file()):
            await self._fill(is_empty=False)

    async def _fill(self, *, is_empty: bool = True) -> None:
        """Run build-garden, then open the gardens, which are closed until then."""
        if self._is_filling:
            return
        self._is_filling = self._has_failed = True
        try:
            while (worker := self._worker) is not None:
                if not is_empty:
                    await asyncio.wrap_future(worker.submit(worker.firewall.empty))
                self._must_fill_again = is_empty = False
                is_filled = await self._run_script()
                if is_filled and not self._must_fill_again and self._worker is worker:
                    await asyncio.wrap_future(worker.submit(worker.firewall.open))
                if not self._must_fill_again:
                    self._has_failed = not is_filled
                    return
        except (NetfilterError, GardenError) as error:
            self._stays_closed(f"netfilter refuses ({error})")
        finally:
            self._is_filling = False

    async def _run_script(self) -> bool:
        """Whether the gardens are what the file wants them to be."""
        log, path, settings = self._api.log, self.script, self.settings
        try:
            self._run = script.Run(path, settings.mark_mask)
            outcome = await self._run.end(settings.build_timeout)
        except OSError as error:
            self._stays_closed(f"{path} cannot be run: {error}")
            return False
        finally:
            self._run = None
        for line in outcome.lines:
            log.warning("%s: %s", path.name, line)
        if self._must_fill_again and outcome.status == -signal.SIGKILL:
            return False  # that was interrupt()
        if outcome.timed_out:
            self._stays_closed(f"{path} was killed: it took over {settings.build_timeout:g} s")
        elif outcome.status:
            self._stays_closed(f"{path} ended with status {outcome.status}")
        else:
            log.info("%s has filled the garden", path)
        return not outcome.timed_out and not outcome.status

    def _stays_closed(self, reason: str) -> None:
        self._api.log.error(
            "%s: the gardens stay closed, everything that trapped users send is dropped; next "
            "attempt in %g s",
            reason,
            self.settings.check_interval,
        )
