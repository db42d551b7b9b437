"""Programs of the interoperability tests in a namespace of the lab."""

import os

from l2tpns_core.lab.netns import Namespace


class Inside:
    """A namespace of the lab as these programs want to have one."""

    def __init__(self, space: Namespace) -> None:
        self._descriptor = f"/proc/{os.getpid()}/fd/{space.descriptor}"

    def command(self, *arguments: str) -> list[str]:
        """The argv that runs a command inside."""
        return ["nsenter", f"--net={self._descriptor}", *arguments]
