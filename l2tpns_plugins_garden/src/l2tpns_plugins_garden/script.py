"""Running build-garden, the operator's shell file that fills the gardens."""

import asyncio
import contextlib
import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SYNTAX_TIMEOUT_S: Final = 10.0
MAX_LINES: Final = 50
MAX_LINE: Final = 400
MAX_OUTPUT: Final = 64 * 1024
BLOCK: Final = 64 * 1024
LAST_BLOCKS: Final = 16
"""So many blocks are still read when it has ended: a pipe holds no more."""

PRELUDE: Final = r"""
# What build-garden finds: iptables of nftables, whatever the system's alternatives say, and two
# forms that it no longer takes but that every garden has: `--dport ! 53`, and DROP in nat, which
# becomes the mark that garden_drop waits for.
if command -v iptables-nft >/dev/null 2>&1; then
    _garden_iptables=iptables-nft
elif command -v iptables >/dev/null 2>&1; then
    case $(iptables -V 2>/dev/null) in
    *nf_tables*) _garden_iptables=iptables ;;
    *)
        echo "iptables is iptables-legacy here, which cannot see the garden:" \
            "update-alternatives --set iptables /usr/sbin/iptables-nft" >&2
        _garden_iptables=false
        ;;
    esac
else
    _garden_iptables=
fi

iptables() {
    if [ -z "$_garden_iptables" ]; then
        echo "there is no iptables: install it, or write nft commands" >&2
        return 127
    fi
    case " $* " in
    *" -t nat "* | *" --table nat "* | *" --table=nat "*) _garden_nat=1 ;;
    *) _garden_nat= ;;
    esac
    _garden_left=$#
    while [ "$_garden_left" -gt 0 ]; do
        _garden_word=$1
        shift
        _garden_left=$((_garden_left - 1))
        case $_garden_word in
        -j | --jump)
            if [ -n "$_garden_nat" ] && [ "$_garden_left" -gt 0 ] && [ "$1" = DROP ]; then
                shift
                _garden_left=$((_garden_left - 1))
                set -- "$@" -j MARK --set-xmark "$GARDEN_DROP_MARK"
                continue
            fi
            ;;
        -*)
            if [ "$_garden_left" -gt 1 ] && [ "$1" = "!" ]; then
                case $2 in
                -*) ;;
                *)
                    shift
                    _garden_left=$((_garden_left - 1))
                    set -- "$@" "!"
                    ;;
                esac
            fi
            ;;
        esac
        set -- "$@" "$_garden_word"
    done
    command $_garden_iptables "$@"
}

. "$1"
"""


@dataclass(slots=True)
class Outcome:
    """How the file ended."""

    status: int
    """Exit status; minus the signal that ended it."""
    lines: list[str]
    """What it wrote to either output, at most MAX_LINES lines."""
    timed_out: bool = False


def syntax_errors(path: Path) -> list[str]:
    """What the shell says about a file without running it."""
    try:
        done = subprocess.run(
            ["/bin/sh", "-n", os.path.abspath(path)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SYNTAX_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return [f"{path}: cannot be looked at: {error}"]
    lines = done.stderr.decode(errors="replace").splitlines()[:MAX_LINES]
    return [line[:MAX_LINE] for line in lines] if done.returncode else []


class Run:
    """build-garden, running: /bin/sh sources the file, in a process group of its own.

    Raises OSError when there is no shell. Somebody has to await end().
    """

    def __init__(self, path: Path, mask: int) -> None:
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", PRELUDE, "build-garden", os.path.abspath(path)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "GARDEN_DROP_MARK": f"{mask:#x}/{mask:#x}"},
            cwd="/",
            start_new_session=True,
        )
        assert self._process.stdout is not None
        self._pipe = self._process.stdout
        os.set_blocking(self._pipe.fileno(), False)
        self._output = bytearray()
        try:
            self._watched = os.pidfd_open(self._process.pid)
        except OSError:
            self.kill()
            self._process.wait()
            self._pipe.close()
            raise

    def kill(self) -> None:
        """Kill it and what it has started. Returns at once."""
        if self._process.returncode is None:  # not waited for yet: the number is still its own
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def end(self, timeout_s: float) -> Outcome:
        """Wait for the shell, no longer than that. What it leaves running is killed."""
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        timed_out = False
        loop.add_reader(self._watched, ended.set)
        loop.add_reader(self._pipe, self._read_some, loop)
        try:
            async with asyncio.timeout(timeout_s):
                await ended.wait()
        except TimeoutError:
            timed_out = True
        finally:
            self.kill()
            try:
                await ended.wait()
            finally:
                loop.remove_reader(self._watched)
                loop.remove_reader(self._pipe)
                os.close(self._watched)
                status = self._process.poll()
                self._read_rest()
                self._pipe.close()
        return Outcome(status or 0, _lines(bytes(self._output)), timed_out)

    def _read_some(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._read():
            loop.remove_reader(self._pipe)

    def _read_rest(self) -> None:
        """Read what is there. Somebody who has left the group may hold the pipe open for ever."""
        for _ in range(LAST_BLOCKS):
            try:
                if not self._read():
                    return
            except BlockingIOError:
                return

    def _read(self) -> bool:
        """Read a block; what is too much is read, but not kept. False at the end."""
        block = os.read(self._pipe.fileno(), BLOCK)
        self._output += block[: MAX_OUTPUT - len(self._output)]
        return bool(block)


def _lines(output: bytes) -> list[str]:
    lines = [line.strip()[:MAX_LINE] for line in output.decode(errors="replace").splitlines()]
    lines = [line for line in lines if line]
    if len(lines) > MAX_LINES:
        return [*lines[:MAX_LINES], f"({len(lines) - MAX_LINES} more lines)"]
    return lines
