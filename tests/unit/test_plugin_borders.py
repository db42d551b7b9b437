"""The plugins of this repository are third parties: they know the core only by its plugin API."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(ROOT.glob("l2tpns_plugins_*/src/**/*.py"))
API = "l2tpns_core.plugins"
TYPES_ONLY = {"l2tpns_core.session", "l2tpns_core.radius.model", "l2tpns_core.dataplane.plane"}
"""What the API hands out; a plugin may name it in annotations."""


def imports(tree: ast.AST, *, annotations: bool = False) -> Iterator[tuple[str, bool]]:
    """Every module that is imported, and whether only type checkers see it."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            yield from imports(node, annotations=True)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, annotations
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "", annotations
        else:
            yield from imports(node, annotations=annotations)


def test_there_are_three_plugins_to_look_at() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in SOURCES} == {
        "l2tpns_plugins_autosnoop",
        "l2tpns_plugins_autothrottle",
        "l2tpns_plugins_garden",
    }


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_plugin_imports_nothing_of_the_core_but_the_api(path: Path) -> None:
    for module, annotations in imports(ast.parse(path.read_text())):
        if module.split(".")[0] != "l2tpns_core" or module == API:
            continue
        assert annotations, f"{module} is not part of the API"
        assert module in TYPES_ONLY, f"{module} is not what the API hands out"
