"""The object that is shipped is what clang makes of the source that is shipped."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from l2tpns_core.dataplane.ebpf import layout
from l2tpns_core.dataplane.ebpf.build import CLANG, HEADER, OBJECT, build

TOOLS = ("clang", "llvm-strip")


def test_the_object_is_built_from_the_source(tmp_path: Path) -> None:
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"THE BPF OBJECT WAS NOT COMPARED: {' and '.join(missing)} missing")
    version = subprocess.run(["clang", "--version"], capture_output=True, text=True, check=True)
    if f"version {CLANG}." not in version.stdout:
        pytest.skip(f"THE BPF OBJECT WAS NOT COMPARED: it was made by clang {CLANG}")
    build(tmp_path / OBJECT.name)
    assert (tmp_path / OBJECT.name).read_bytes() == OBJECT.read_bytes(), (
        "python -m l2tpns_core.dataplane.ebpf.build"
    )


def test_the_object_holds_no_paths_and_no_debug_sections() -> None:
    image = OBJECT.read_bytes()
    assert b".debug_" not in image
    assert b"/home/" not in image
    assert b"/tmp/" not in image


def test_outcomes_have_the_names_of_the_source() -> None:
    body = re.search(r"enum outcome \{(.*?)\}", HEADER.read_text(), re.DOTALL)
    assert body is not None
    names = [name.strip().lower() for name in body[1].split(",")][:-1]
    shortened = [re.sub("_(punt|drop)_", "_", name) for name in layout.OUTCOMES]
    assert [name.rstrip("s") for name in shortened] == [
        "up_source_spoofed" if name == "up_spoofed" else name.rstrip("s") for name in names
    ]


@pytest.mark.parametrize(
    "name",
    [
        *("BURST_NS", "RATE_SHIFT"),
        *("PUNT", "ADDRESS_CONTROL", "HAS_NETWORKS", "SNOOPED", "ECHO", "THROTTLED", "FILTERED"),
    ],
)
def test_constants_are_those_of_the_source(name: str) -> None:
    found = re.search(rf"#define {name} (\d+)", HEADER.read_text())
    assert found is not None
    assert int(found[1]) == getattr(layout, name)


def test_times_have_the_unit_of_the_source() -> None:
    found = re.search(r"#define TIME_SHIFT (\d+)", HEADER.read_text())
    assert found is not None
    assert (1 << int(found[1])) / 1e9 == layout.TIME_UNIT


def test_a_rate_becomes_the_time_that_an_octet_takes() -> None:
    assert layout.cost_of(0) == 0
    assert layout.cost_of(8000) == 1000 << layout.RATE_SHIFT
    assert 10**9 * 8 / (layout.cost_of(10_000_000) / 1024) / 1e9 == pytest.approx(10, rel=0.001)
