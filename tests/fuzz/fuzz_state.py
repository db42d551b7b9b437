"""Fuzz entry for the files of saved state: run it under a fuzzer, or feed it files by name.

python fuzz_state.py FILE...
"""

import sys
import tempfile
from pathlib import Path

from l2tpns_core.state.adoption import Adoption
from l2tpns_core.state.errors import StateError
from l2tpns_core.state.image import Image
from l2tpns_core.state.lines import decode_line, header
from l2tpns_core.state.store import Store
from support.memory import World


def one_input(data: bytes) -> None:
    """Anything at all as a line, as a journal and as a snapshot: nothing but StateError, and what
    is read can be gone on with."""
    try:
        Image().apply(decode_line(data))
    except StateError:
        pass
    for whole in (data, header("snapshot", 1) + data):
        with tempfile.TemporaryDirectory() as name:
            directory = Path(name)
            (directory / "sessions-00000001.snapshot").write_bytes(whole)
            (directory / "sessions-00000001.journal").write_bytes(header("journal", 1) + data)
            store = Store.open(directory)
            try:
                image = store.load().image
                store.keep_aside()
            finally:
                store.close()
            go_on(image)


def go_on(image: Image) -> None:
    """An LNS takes over whatever was read."""
    world = World()
    Adoption(world.lns, image).take()
    Adoption(World().lns, image).refuse("fuzz")
    world.lns.flush(world.now)


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        one_input(Path(argument).read_bytes())
