"""Curves on logarithmic axes as a small SVG, panels side by side."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 300, 230
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 24, 34
COLOURS = ("#c0392b", "#2c5f8a", "#2e8b57", "#8a6d2c")


@dataclass(frozen=True)
class Curve:
    """Points (x, y), all above 0, in order of x."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Panel:
    """Curves that share axes."""

    title: str
    curves: Sequence[Curve]


@dataclass(frozen=True)
class Axis:
    """A logarithmic axis: from the least to the largest value, over a stretch of pixels."""

    least: float
    largest: float
    begin: float
    end: float

    def at(self, value: float) -> float:
        """Where a value lies."""
        span = math.log(self.largest / self.least) or 1.0
        return self.begin + (self.end - self.begin) * math.log(value / self.least) / span

    def ticks(self) -> list[float]:
        """1, 2 and 5 times the powers of ten within the axis; where these are many, the powers alone."""
        decades = range(math.floor(math.log10(self.least)), math.ceil(math.log10(self.largest)) + 1)
        steps = (1,) if len(decades) > 4 else (1, 2, 5)
        found = [step * 10.0**decade for decade in decades for step in steps]
        return [tick for tick in found if self.least <= tick <= self.largest]


def svg(panels: Sequence[Panel], x_name: str, y_name: str) -> str:
    """The drawing."""
    size = f'width="{WIDTH * len(panels)}" height="{HEIGHT}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="10">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for number, panel in enumerate(panels):
        parts += [f'<g transform="translate({number * WIDTH} 0)">', *_panel(panel, x_name, y_name), "</g>"]
    return "\n".join([*parts, "</svg>\n"])


def _panel(panel: Panel, x_name: str, y_name: str) -> list[str]:
    points = [point for curve in panel.curves for point in curve.points]
    xs, ys = zip(*points, strict=True)
    x = Axis(min(xs), max(xs), LEFT, WIDTH - RIGHT)
    y = Axis(min(ys), max(ys), HEIGHT - BOTTOM, TOP)
    parts = [_text(WIDTH / 2, 14, panel.title, "middle")]
    for tick in x.ticks():
        parts.append(_line(x.at(tick), TOP, x.at(tick), HEIGHT - BOTTOM))
        parts.append(_text(x.at(tick), HEIGHT - BOTTOM + 12, f"{tick:g}", "middle"))
    for tick in y.ticks():
        parts.append(_line(LEFT, y.at(tick), WIDTH - RIGHT, y.at(tick)))
        parts.append(_text(LEFT - 4, y.at(tick) + 3, f"{tick:g}", "end"))
    parts.append(_text(WIDTH / 2, HEIGHT - 6, x_name, "middle"))
    parts.append(_text(4, TOP - 10, y_name, "start"))
    for number, curve in enumerate(panel.curves):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(f"{x.at(px):.1f},{y.at(py):.1f}" for px, py in curve.points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        parts.append(_text(WIDTH - RIGHT - 4, TOP + 12 + 12 * number, curve.name, "end", colour))
    return parts


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" stroke="#ddd"/>'


def _text(x: float, y: float, text: str, anchor: str, colour: str = "#333") -> str:
    escaped = text.replace("&", "&amp;").replace("<", "&lt;")
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escaped}</text>'
