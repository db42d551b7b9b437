"""The bench's graphs: geometry, labels, and that they are well-formed."""

import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from l2tpns_core.lab.bench.graphs import (
    COLOURS,
    LEFT,
    MARGIN,
    PANEL_HEIGHT,
    PANEL_WIDTH,
    TOP,
    Bar,
    BarPanel,
    Panel,
    Series,
    bars,
    lines,
    nice_limit,
    spread,
)

SVG = "{http://www.w3.org/2000/svg}"
FIRST_LEFT = MARGIN + LEFT


def line_graph(*, logarithmic: bool = False) -> ElementTree.Element:
    series = (
        Series("plain", "plain", ((1, 0.0), (1000, 2.0))),
        Series("ebpf", "ours & theirs", ((1, 1.0), (10, 1.5), (1000, 1.99))),
    )
    text = lines(
        "Rate", [Panel("Up", series)], (1, 10, 1000), "sessions", "unit", logarithmic=logarithmic
    )
    return ElementTree.fromstring(text)


def points(root: ElementTree.Element, name: str) -> list[tuple[float, float]]:
    found = next(
        line for line in root.iter(f"{SVG}polyline") if line.get("class") == f"line line-{name}"
    )
    pairs = (pair.split(",") for pair in str(found.get("points")).split())
    return [(float(x), float(y)) for x, y in pairs]


def label_heights(root: ElementTree.Element) -> list[float]:
    return [
        float(str(text.get("y")))
        for text in root.iter(f"{SVG}text")
        if str(text.get("class")).startswith("name-")
    ]


@pytest.mark.parametrize(
    ("value", "limit", "step"),
    [(1.9, 2.0, 0.5), (2.0, 2.0, 0.5), (1.18, 1.25, 0.25), (930, 1000, 200), (0, 1, 1)],
)
def test_axes_end_at_round_numbers_that_hold_the_value(
    value: float, limit: float, step: float
) -> None:
    assert nice_limit(value) == pytest.approx((limit, step))


def test_the_axis_begins_at_zero() -> None:
    bottom, top = TOP + PANEL_HEIGHT, TOP
    (x0, y0), (x1, y1) = points(line_graph(), "plain")
    assert y0 == pytest.approx(bottom)
    assert y1 == pytest.approx(top)
    assert x0 == pytest.approx(FIRST_LEFT + PANEL_WIDTH / 1000, abs=0.1)
    assert x1 == pytest.approx(FIRST_LEFT + PANEL_WIDTH)


def test_a_logarithmic_axis_gives_each_factor_the_same_room() -> None:
    xs = [x for x, _ in points(line_graph(logarithmic=True), "ebpf")]
    assert xs == pytest.approx(
        [FIRST_LEFT, FIRST_LEFT + PANEL_WIDTH / 3, FIRST_LEFT + PANEL_WIDTH], abs=0.1
    )


def test_labels_of_lines_that_end_together_stay_apart() -> None:
    first, second = label_heights(line_graph())
    assert abs(first - second) >= 15


@pytest.mark.parametrize(
    "wanted", [[10.0, 10.0, 10.0], [0.0, 100.0], [50.0, 49.0, 20.0, 21.0], [], [5.0]]
)
def test_labels_keep_their_order_and_their_distance(wanted: list[float]) -> None:
    found = spread(wanted, 15.0)
    order = sorted(range(len(wanted)), key=lambda n: wanted[n])
    heights = [found[n] for n in order]
    assert all(b - a >= 15.0 - 1e-9 for a, b in pairwise(heights))
    assert sum(found) == pytest.approx(sum(wanted))


def test_bars_are_as_long_as_their_values() -> None:
    panel = BarPanel("Up", (Bar("plain", "plain", 500.0), Bar("debian", "theirs", 2000.0)))
    root = ElementTree.fromstring(bars("CPU", [panel], "ns"))
    widths = [
        float(str(rectangle.get("width")))
        for rectangle in root.iter(f"{SVG}rect")
        if str(rectangle.get("class")).startswith("fill-")
    ]
    assert widths[1] == pytest.approx(widths[0] * 4, rel=0.01)
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert {"500", "2,000", "theirs"} <= set(texts)


def test_nothing_sticks_out() -> None:
    root = line_graph()
    width, height = (float(str(root.get(name))) for name in ("width", "height"))
    for text in root.iter(f"{SVG}text"):
        x, y = float(str(text.get("x"))), float(str(text.get("y")))
        room = {"end": 0.0, "middle": 0.5}.get(str(text.get("text-anchor")), 1.0)
        assert 0 <= y <= height
        assert x + 7.5 * len(str(text.text)) * room <= width


def test_every_colour_has_a_light_and_a_dark_form() -> None:
    text = ElementTree.tostring(line_graph(), encoding="unicode")
    light, dark = text.split("prefers-color-scheme: dark")
    for name, (for_light, for_dark) in COLOURS.items():
        assert re.search(rf"\.line-{name} {{ stroke: {for_light};", light)
        assert re.search(rf"\.line-{name} {{ stroke: {for_dark};", dark)
