"""Graphs as SVG: lines and bars, axes from zero, labels at what they belong to, light and dark."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

COLOURS: Final = {
    # the same hue for light and dark paper, told apart by colour-blind people too
    "plain": ("#6b7280", "#9ca3af"),
    "ebpf": ("#0062a3", "#56b4e9"),
    "user": ("#b34a00", "#f0a35e"),
    "debian": ("#00795a", "#3fc89a"),
    "generator": ("#a78bba", "#7d6a8f"),
}
DASHES: Final = {"plain": "7 4", "generator": "2 4"}
PANEL_WIDTH, PANEL_HEIGHT = 330.0, 250.0
LEFT, TOP, BOTTOM, LABELS, MARGIN = 64.0, 88.0, 58.0, 142.0, 16.0
"""Room around the axes; `LABELS` is to the right of them, for the lines' names."""
LINE_HEIGHT: Final = 15.0
BAR_HEIGHT, BAR_GAP = 24.0, 12.0
BAR_NAMES: Final = 150.0
BAR_VALUES: Final = 90.0
TICKS: Final = 5

STYLE: Final = """\
text { font: 13px system-ui, sans-serif; fill: #1f2933; }
.title { font-size: 16px; font-weight: 600; }
.head { font-weight: 600; }
.soft { fill: #52606d; }
.paper { fill: #ffffff; }
.axis { stroke: #7b8794; stroke-width: 1; fill: none; }
.grid { stroke: #e4e7eb; stroke-width: 1; }
.line { fill: none; stroke-width: 2.25; stroke-linejoin: round; }
"""
DARK_STYLE: Final = """\
text { fill: #e4e7eb; }
.soft { fill: #9aa5b1; }
.paper { fill: #14181d; }
.axis { stroke: #7b8794; }
.grid { stroke: #2b323a; }
"""


@dataclass(slots=True, frozen=True)
class Series:
    """A line: points from left to right, in the panel's own units."""

    name: str
    """One of COLOURS."""
    label: str
    points: tuple[tuple[float, float], ...]


@dataclass(slots=True, frozen=True)
class Panel:
    title: str
    series: tuple[Series, ...]


@dataclass(slots=True, frozen=True)
class Bar:
    name: str
    label: str
    value: float


@dataclass(slots=True, frozen=True)
class BarPanel:
    title: str
    bars: tuple[Bar, ...]


def nice_limit(value: float, ticks: int = TICKS) -> tuple[float, float]:
    """The end of an axis from zero that holds value, and the step of its ticks."""
    if value <= 0:
        return 1.0, 1.0
    rough = value / ticks
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough)
    return math.ceil(round(value / step, 9)) * step, step


def spread(wanted: Sequence[float], gap: float) -> list[float]:
    """Heights for labels: as near to the wanted ones as they can be, none closer than gap."""
    order = sorted(range(len(wanted)), key=lambda n: wanted[n])
    groups: list[tuple[list[int], float]] = []
    for number in order:
        members, centre = [number], wanted[number]
        while groups:
            before, at = groups[-1]
            if centre - at >= gap * (len(members) + len(before)) / 2:
                break
            groups.pop()
            total = at * len(before) + centre * len(members)
            members = before + members
            centre = total / len(members)
        groups.append((members, centre))
    found = [0.0] * len(wanted)
    for members, centre in groups:
        for place, number in enumerate(members):
            found[number] = centre + (place - (len(members) - 1) / 2) * gap
    return found


def format_tick(value: float) -> str:
    return f"{value:,.6g}"


def lines(
    title: str,
    panels: Sequence[Panel],
    x_values: Sequence[float],
    x_label: str,
    y_label: str,
    *,
    logarithmic: bool = False,
) -> str:
    """Panels beside each other with the same axes. `x_values` are the ticks of the x axis; a
    logarithmic one begins at the first of them, any other at zero."""
    top = max((y for panel in panels for one in panel.series for _, y in one.points), default=0)
    limit, step = nice_limit(top)
    place = _places(x_values, logarithmic)
    width = MARGIN + len(panels) * (LEFT + PANEL_WIDTH + LABELS)
    height = TOP + PANEL_HEIGHT + BOTTOM
    parts = [_text(MARGIN, 28, title, "title"), _text(MARGIN, 48, y_label, "soft")]
    for number, panel in enumerate(panels):
        left = MARGIN + LEFT + number * (LEFT + PANEL_WIDTH + LABELS)
        parts += _grid(left, limit, step)
        parts += _x_axis(left, x_values, place, x_label)
        parts.append(_text(left, TOP - 10, panel.title, "head"))
        parts += _draw_lines(left, panel.series, place, limit)
    return _document(title, width, height, parts)


def bars(title: str, panels: Sequence[BarPanel], unit: str) -> str:
    """Horizontal bars in panels below each other, with the same scale, and values at their ends."""
    top = max((bar.value for panel in panels for bar in panel.bars), default=0)
    limit, _ = nice_limit(top)
    scale = 2 * PANEL_WIDTH / limit
    width = MARGIN * 2 + BAR_NAMES + 2 * PANEL_WIDTH + BAR_VALUES
    parts = [_text(MARGIN, 28, title, "title"), _text(MARGIN, 48, unit, "soft")]
    y, left = TOP - 6, MARGIN + BAR_NAMES
    for panel in panels:
        parts.append(_text(MARGIN, y + 4, panel.title, "head"))
        y += 18
        start = y - 5
        for bar in panel.bars:
            middle = y + BAR_HEIGHT / 2 + 4.5
            parts.append(_text(left - 10, middle, bar.label, "", "end"))
            parts.append(
                f'<rect class="fill-{bar.name}" x="{left:g}" y="{y:g}" '
                f'width="{bar.value * scale:.1f}" height="{BAR_HEIGHT:g}"/>'
            )
            value = f"{bar.value:,.0f}"
            parts.append(_text(left + bar.value * scale + 8, middle, value, "head"))
            y += BAR_HEIGHT + BAR_GAP
        parts.append(f'<path class="axis" d="M{left:g} {start:g}V{y - BAR_GAP + 5:g}"/>')
        y += 22
    return _document(title, width, y, parts)


def _places(x_values: Sequence[float], logarithmic: bool) -> Callable[[float], float]:
    """Where on an axis a value is, from 0 to 1."""
    if not logarithmic:
        end = max(x_values, default=1) or 1
        return lambda x: x / end
    first, last = math.log10(min(x_values)), math.log10(max(x_values))
    return lambda x: (math.log10(x) - first) / ((last - first) or 1)


def _grid(left: float, limit: float, step: float) -> list[str]:
    parts = []
    for number in range(round(limit / step) + 1):
        y = TOP + PANEL_HEIGHT * (1 - number * step / limit)
        if number:
            parts.append(f'<path class="grid" d="M{left:g} {y:.1f}h{PANEL_WIDTH:g}"/>')
        parts.append(_text(left - 8, y + 4.5, format_tick(number * step), "soft", "end"))
    return parts


def _x_axis(
    left: float, values: Sequence[float], place: Callable[[float], float], label: str
) -> list[str]:
    y = TOP + PANEL_HEIGHT
    parts = [f'<path class="axis" d="M{left:g} {TOP:g}V{y:g}H{left + PANEL_WIDTH:g}"/>']
    for value in values:
        x = left + PANEL_WIDTH * place(value)
        parts.append(f'<path class="axis" d="M{x:.1f} {y:g}v5"/>')
        parts.append(_text(x, y + 20, format_tick(value), "soft", "middle"))
    parts.append(_text(left + PANEL_WIDTH / 2, y + 42, label, "soft", "middle"))
    return parts


def _draw_lines(
    left: float, series: Sequence[Series], place: Callable[[float], float], limit: float
) -> list[str]:
    def height(value: float) -> float:
        return TOP + PANEL_HEIGHT * (1 - value / limit)

    parts = []
    drawn = [one for one in series if one.points]
    for one in drawn:
        points = [(left + PANEL_WIDTH * place(x), height(y)) for x, y in one.points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline class="line line-{one.name}" points="{path}"/>')
        parts += [
            f'<circle class="fill-{one.name}" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>'
            for x, y in points
        ]
    at = spread([height(one.points[-1][1]) for one in drawn], LINE_HEIGHT)
    for one, y in zip(drawn, at, strict=True):
        parts.append(_text(left + PANEL_WIDTH + 10, y + 4.5, one.label, f"name-{one.name}"))
    return parts


def _text(x: float, y: float, content: str, kind: str = "", anchor: str = "") -> str:
    attributes = f' class="{kind}"' * bool(kind) + f' text-anchor="{anchor}"' * bool(anchor)
    return f'<text x="{x:.1f}" y="{y:.1f}"{attributes}>{escape(content)}</text>'


def _colours(dark: bool) -> str:
    rules = []
    for name, pair in COLOURS.items():
        colour = pair[dark]
        dash = f" stroke-dasharray: {DASHES[name]};" if name in DASHES else ""
        rules.append(f".line-{name} {{ stroke: {colour};{dash} }}")
        rules.append(f".fill-{name}, text.name-{name} {{ fill: {colour}; }}")
    return "\n".join(rules) + "\n"


def _document(title: str, width: float, height: float, parts: Sequence[str]) -> str:
    dark = f"@media (prefers-color-scheme: dark) {{\n{DARK_STYLE}{_colours(True)}}}\n"
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" '
        f'viewBox="0 0 {width:g} {height:g}" role="img">\n'
        f"<title>{escape(title)}</title>\n<style>\n{STYLE}{_colours(False)}{dark}</style>\n"
        f'<rect class="paper" width="{width:g}" height="{height:g}"/>\n{body}\n</svg>\n'
    )
