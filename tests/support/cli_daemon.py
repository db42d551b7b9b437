"""A process with nothing but the daemon's end of the command line: `cli_daemon.py SOCKET`."""

import asyncio
import sys

from l2tpns_core.cli.engine import CliServer
from unit.cli.fakes import four_sessions


async def serve(path: str) -> None:
    await CliServer(four_sessions(), path).start()
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
