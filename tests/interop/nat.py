"""The rules of netfilter in the namespace of the LNS, as an operator sees and sets them."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

from integration.garden.place import install_tools
from interop.namespaces import Namespace


class Nat:
    """iptables and nft in a namespace; `programs` is where both can be found."""

    def __init__(self, namespace: Namespace, programs: Path) -> None:
        self._namespace = namespace
        self.programs = programs
        install_tools(programs)

    def iptables(self, line: str) -> str:
        return self._run("iptables", line)

    def nft(self, line: str) -> str:
        return self._run("nft", line)

    def _run(self, program: str, line: str) -> str:
        return self._namespace.run(str(self.programs / program), *shlex.split(line))

    def listing(self, table: str = "") -> str:
        """All rules, or those of a table, without what they have counted."""
        listed = self.nft(f"list table {table}" if table else "list ruleset")
        return re.sub(r"packets \d+ bytes \d+", "packets bytes", listed)

    def counts(self, chain: str) -> dict[str, int]:
        """How many packets each rule of a chain of table nat has counted, by what the rule is in
        `iptables -L -nvx`."""
        lines = self.iptables(f"-t nat -L {chain} -nvx").splitlines()[2:]
        words = [line.split() for line in lines]
        return {" ".join([each[2], *each[9:]]): int(each[0]) for each in words}

    def dropped(self) -> int:
        """How many packets the garden has dropped."""
        listed = self.nft("list chain ip l2tpns garden_drop")
        return sum(int(count) for count in re.findall(r"counter packets (\d+)", listed))

    def members(self, name: str = "garden") -> set[str]:
        """Who is in a set of ours."""
        listed: dict[str, list[dict[str, Any]]]
        listed = json.loads(self.nft(f"-j list set ip l2tpns {name}"))
        return {ip for entry in listed["nftables"] for ip in entry.get("set", {}).get("elem", ())}
