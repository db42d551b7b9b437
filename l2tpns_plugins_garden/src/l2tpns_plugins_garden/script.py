"""Running build-garden, the operator's shell file that fills the gardens."""

import asyncio
import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MAX_LINES: Final = 50
MAX_LINE: Final = 400
MAX_OUTPUT: Final = 64 * 1024

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


async def run(path: Path, mask: int, timeout_s: float) -> Outcome:
    """Have /bin/sh source a file; it and what it started is killed after `timeout_s`.

    Raises OSError when there is no shell.
    """
    environment = {**os.environ, "GARDEN_DROP_MARK": f"{mask:#x}/{mask:#x}"}
    process = await asyncio.create_subprocess_exec(
        "/bin/sh",
        "-c",
        PRELUDE,
        "build-garden",
        os.path.abspath(path),  # noqa: ASYNC240  (touches no disk)
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=environment,
        cwd="/",
        start_new_session=True,
    )
    assert process.stdout is not None
    timed_out = False
    output = bytearray()
    try:
        async with asyncio.timeout(timeout_s):
            await _read(process.stdout, output)
            await process.wait()
    except TimeoutError:
        timed_out = True
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    return Outcome(process.returncode or 0, _lines(bytes(output)), timed_out)


async def _read(stream: asyncio.StreamReader, output: bytearray) -> None:
    """Read to the end; what is too much is read, but not kept."""
    while block := await stream.read(4096):
        output += block[: MAX_OUTPUT - len(output)]


def _lines(output: bytes) -> list[str]:
    lines = [line.strip()[:MAX_LINE] for line in output.decode(errors="replace").splitlines()]
    lines = [line for line in lines if line]
    if len(lines) > MAX_LINES:
        return [*lines[:MAX_LINES], f"({len(lines) - MAX_LINES} more lines)"]
    return lines
