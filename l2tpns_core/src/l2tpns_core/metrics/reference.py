"""Writes docs/reference/metrics.md: python -m l2tpns_core.metrics.reference > that file."""

from collections.abc import Iterator

from l2tpns_core.metrics import neighbours  # noqa: F401  (declares its metrics)
from l2tpns_core.metrics.families import FAMILIES, Family

INTRODUCTION = """\
# Metrics

Generated from the code by `python -m l2tpns_core.metrics.reference`; a test keeps it so. How to
turn them on, a dashboard and alerts are in [metrics](../metrics.md). Beside these there are the
`process_*` metrics of prometheus_client (memory, processor time, open files).

| metric | type | labels | |
|---|---|---|---|
"""


def metrics_page() -> str:
    """The page."""
    return INTRODUCTION + "".join(f"{row}\n" for row in map(_row, FAMILIES))


def _row(family: Family) -> str:
    labels = ", ".join(f"`{label}`" for label in family.labels)
    return f"| `{family.shown_name}` | {family.kind} | {labels} | {family.help} |"


def metric_names() -> Iterator[str]:
    """Every name that a query may use."""
    for family in FAMILIES:
        if family.kind == "histogram":
            yield from (f"{family.name}_{part}" for part in ("bucket", "count", "sum"))
        else:
            yield family.shown_name


if __name__ == "__main__":
    print(metrics_page(), end="")
