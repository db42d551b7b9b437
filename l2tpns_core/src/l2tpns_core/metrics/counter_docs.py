"""What each counter of `show counters` means: the text that stands behind it in the code."""

import ast
import inspect
import textwrap
from typing import Any, Final

from l2tpns_core.control.server import ControlCounters
from l2tpns_core.dataplane.counters import PlaneCounters
from l2tpns_core.l2tp.config import EndpointCounters
from l2tpns_core.lns.accounting import AccountingCounters
from l2tpns_core.lns.state import LnsCounters
from l2tpns_core.radius.spool.status import SpoolCounters
from l2tpns_core.radius.status import RadiusCounters
from l2tpns_core.state.counters import StateCounters

COUNTERS: Final[dict[str, type[Any]]] = {
    "lns": LnsCounters,
    "accounting": AccountingCounters,
    "l2tp": EndpointCounters,
    "radius": RadiusCounters,
    "spool": SpoolCounters,
    "plane": PlaneCounters,
    "state": StateCounters,
    "nsctl": ControlCounters,
}
"""The groups, as the daemon names them."""


def docs_of(record: type[Any]) -> dict[str, str]:
    """The counters of a class with a sentence for each, without the full stop; one that has no
    text of its own is told by its name."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(record)))
    (definition,) = tree.body
    assert isinstance(definition, ast.ClassDef)
    found: dict[str, str] = {}
    last = ""
    for node in definition.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            last = node.target.id
            words = last.replace("_", " ")
            found[last] = words[0].upper() + words[1:]
        elif last and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            text = " ".join(str(node.value.value).split())
            found[last] = text.rstrip(".")
        else:
            last = ""
    return found
