"""A run as a picture: jobs by status over time, and every fault, as an SVG."""

from collections.abc import Sequence

from tests.chaos.schedule import EVERYTHING, WORKERS, Fault, Kind
from tests.chaos.watch import Sample

WIDTH, HEIGHT = 900, 260
LEFT, RIGHT, TOP = 60, 20, 40
ROW = 14
#: From the bottom up.
LAYERS = {
    "succeeded": "#2e8b57",
    "canceled": "#b0b0b0",
    "expired": "#8a8a8a",
    "failed": "#c0392b",
    "processing": "#2c5f8a",
    "queued": "#e0c068",
}
KINDS = {
    Kind.KILL: "#c0392b",
    Kind.TERMINATE: "#8a6d2c",
    Kind.FREEZE: "#2c5f8a",
    Kind.RESET: "#7b3f9e",
    Kind.BLACK_HOLE: "#333333",
    Kind.SLOW: "#2e8b57",
}
ROWS = (*WORKERS, "redis", "s3", EVERYTHING)
#: More points than pixels draw nothing more.
MOST_POINTS = 600


def svg(samples: Sequence[Sample], faults: Sequence[Fault], title: str) -> str:
    """The drawing. Needs at least one sample."""
    end = max(samples[-1].at, *(fault.at + fault.seconds for fault in faults), 1.0)
    most = max(1, *(sum(sample.counts.values()) for sample in samples))
    height = TOP + HEIGHT + ROW * len(ROWS) + 40

    def x(seconds: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * seconds / end

    def y(jobs: float) -> float:
        return TOP + HEIGHT * (1 - jobs / most)

    size = f'width="{WIDTH}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="10">',
        '<rect width="100%" height="100%" fill="white"/>',
        _text(LEFT, 14, title),
        *_legend(),
    ]
    thin = samples[:: max(1, len(samples) // MOST_POINTS)]
    below = [0] * len(thin)
    for name, colour in LAYERS.items():
        above = [under + sample.counts[name] for under, sample in zip(below, thin, strict=True)]
        outline = [(sample.at, jobs) for sample, jobs in zip(thin, above, strict=True)]
        outline += [(sample.at, jobs) for sample, jobs in zip(reversed(thin), reversed(below), strict=True)]
        points = " ".join(f"{x(at):.1f},{y(jobs):.1f}" for at, jobs in outline)
        parts.append(f'<polygon points="{points}" fill="{colour}"/>')
        below = above
    parts += [_text(LEFT - 4, y(jobs) + 3, str(jobs), "end") for jobs in (0, most // 2, most)]
    for number, name in enumerate(ROWS):
        middle = TOP + HEIGHT + ROW * (number + 0.5) + 8
        parts.append(_text(LEFT - 4, middle + 3, name, "end"))
        parts.append(f'<path d="M{LEFT} {middle}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        for fault in faults:
            if fault.target == name:
                width = max(2.0, x(fault.at + fault.seconds) - x(fault.at))
                box = f'x="{x(fault.at):.1f}" y="{middle - 5:.1f}" width="{width:.1f}" height="10"'
                parts.append(f'<rect {box} fill="{KINDS[fault.kind]}"><title>{fault}</title></rect>')
    for part in range(7):
        at = end * part / 6
        parts.append(_text(x(at), height - 14, f"{at:.0f}", "middle"))
    return "\n".join([*parts, _text(WIDTH / 2, height - 3, "seconds", "middle"), "</svg>\n"])


def _legend() -> list[str]:
    parts, at = [], float(LEFT)
    for name, colour in [*LAYERS.items(), *((str(kind), colour) for kind, colour in KINDS.items())]:
        parts.append(f'<rect x="{at:.0f}" y="22" width="8" height="8" fill="{colour}"/>')
        parts.append(_text(at + 11, 30, name))
        at += 24 + 5.2 * len(name)
    return parts


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="#333">{text}</text>'
