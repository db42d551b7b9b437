"""Compile the programs: python -m l2tpns_core.dataplane.ebpf.build

Needs clang, llvm-strip and the headers of libbpf (Debian: clang llvm libbpf-dev). The result is
part of the source, so that nobody needs a compiler to install or run it; a test rebuilds it with
the same version of clang.
"""

import platform
import subprocess
import sys
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
SOURCE: Final = HERE / "l2tp.bpf.c"
HEADER: Final = HERE / "l2tp.bpf.h"
OBJECT: Final = HERE / "l2tp.bpf.o"
CLANG: Final = 14
"""The version that made the object; others make other bytes of the same source."""
TRIPLET: Final = f"{platform.machine()}-linux-gnu"
COMPILE: Final = (
    "clang",
    "-target",
    "bpf",
    "-mcpu=v3",
    "-O2",
    "-g",
    "-Wall",
    "-Werror",
    "-mllvm",
    "-no-stack-slot-sharing",
    "-fdebug-compilation-dir=.",
    f"-I/usr/include/{TRIPLET}",
)
"""-g makes the BTF, which the kernel wants; the rest of what it makes is stripped off again. Where
spilled numbers shared places on the stack with pointers, the verifier would want CAP_PERFMON."""


def build(target: Path) -> None:
    """Compile SOURCE to target. Raises FileNotFoundError without a compiler, CalledProcessError."""
    command = (*COMPILE, "-c", SOURCE.name, "-o", str(target))
    subprocess.run(command, cwd=SOURCE.parent, check=True)
    subprocess.run(("llvm-strip", "-g", str(target)), check=True)


if __name__ == "__main__":
    try:
        build(OBJECT)
    except FileNotFoundError as error:
        sys.exit(f"{error.filename} is missing: apt install clang llvm libbpf-dev")
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
    print(f"{OBJECT.name}: {OBJECT.stat().st_size} bytes")
