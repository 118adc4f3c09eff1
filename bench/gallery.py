"""The pictures of `docs/gallery.md`: every control of the spec, painted from the project's own samples.

    python bench/gallery.py [NAME ...] [--out docs/images] [--side 256] [--threads N]

Each control is one strip: the same job with one thing changed from cell to cell; grids show the defaults,
painted at 512 px. Without names all of them are painted, which takes about a quarter of an hour on two cores.
`--photographs FOLDER` paints those too that want photographs and paintings, FOLDER/content and FOLDER/style.
"""

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.sheet import Header, save, sheet  # noqa: E402
from shared.backbones import BACKBONES  # noqa: E402
from shared.spec import resolve  # noqa: E402
from worker.engine import Engine, Style  # noqa: E402
from worker.engine.files import decode  # noqa: E402

SAMPLES = ROOT / "samples"
TOWN, COAST, FRUIT = (f"content/{name}.jpg" for name in ("town", "coast", "still_life"))
NIGHT, DOTS, GLASS, WAVES = (
    f"style/{name}.jpg" for name in ("night_brushwork", "pointillism", "stained_glass", "woodblock_waves")
)
TUEBINGEN = "content/tubingen.jpg"
STARRY, SCREAM = (f"style/{name}.jpg" for name in ("starry_night", "the_scream"))


@dataclass(frozen=True)
class Cell:
    """One picture of a strip: what is written under it, and how its job differs from the strip's."""

    label: str
    spec: Mapping[str, Any] = field(default_factory=dict)
    styles: Sequence[tuple[str, float]] = ()
    halves: bool = False
    mask: bool = False


@dataclass(frozen=True)
class Strip:
    """A control: its content and style, and its cells."""

    content: str
    style: str
    cells: Sequence[Cell]
    spec: Mapping[str, Any] = field(default_factory=dict)


STRIPS: dict[str, Strip] = {
    "alpha-beta": Strip(TOWN, NIGHT, [Cell(f"{r:g}", {"alpha_beta": r}) for r in (1e-4, 1e-3, 1e-2, 1e-1)]),
    "content-layer": Strip(
        TOWN,
        NIGHT,
        [Cell(layer, {"content_layers": {layer: 1.0}}) for layer in ("conv2_2", "conv4_2")],
        {"alpha_beta": 2e-2},
    ),
    "style-layers": Strip(
        TOWN,
        NIGHT,
        [
            Cell(f"to conv{n}_1", {"style_layers": {f"conv{k}_1": 1 / n for k in range(1, n + 1)}})
            for n in (1, 2, 3, 5)
        ],
    ),
    "init": Strip(
        TOWN, GLASS, [Cell(init, {"init": init}) for init in ("content", "style", "noise", "picture")]
    ),
    "style-loss": Strip(TOWN, NIGHT, [Cell(loss, {"style_loss": loss}) for loss in ("moments", "gram")]),
    "pooling": Strip(TOWN, NIGHT, [Cell(pooling, {"pooling": pooling}) for pooling in ("avg", "max")]),
    "color": Strip(FRUIT, WAVES, [Cell(color, {"color": color}) for color in ("style", "match", "content")]),
    "style-scale": Strip(
        COAST, DOTS, [Cell(f"{scale:g}", {"style_scale": scale}) for scale in (0.5, 1.0, 2.0)]
    ),
    "styles": Strip(
        TOWN,
        GLASS,
        [
            Cell(f"{glass:g} : {1 - glass:g}", styles=((GLASS, glass), (NIGHT, 1 - glass)))
            for glass in (1.0, 0.5, 0.0)
        ],
    ),
    "regions": Strip(
        COAST,
        WAVES,
        [
            Cell("sky and sea apart", styles=((NIGHT, 1.0), (WAVES, 1.0)), halves=True),
            Cell("together", styles=((NIGHT, 1.0), (WAVES, 1.0))),
            Cell("the style's upper half", mask=True),
            Cell("its lower half", mask=True, halves=True),
        ],
    ),
    "tv": Strip(TOWN, NIGHT, [Cell(f"{tv:g}", {"tv_weight": tv}) for tv in (0.0, 60.0, 500.0)]),
    "photorealism": Strip(
        COAST,
        FRUIT,
        [Cell(f"{weight:g}", {"photorealism": weight}) for weight in (0.0, 1e2, 1e4)],
        {"tv_weight": 0.0},
    ),
    "optimizer": Strip(TOWN, NIGHT, [Cell(name, {"optimizer": name}) for name in ("lbfgs", "adam")]),
    "presets": Strip(
        FRUIT,
        NIGHT,
        [Cell(name, {"preset": name}) for name in ("painting", "abstract", "photo", "faithful-2016")],
    ),
}
"""From the samples alone."""


@dataclass(frozen=True)
class Grid:
    """Every content in every style, on the defaults."""

    contents: Sequence[str]
    styles: Sequence[str]


GRIDS = {"defaults-samples": Grid((TOWN, COAST, FRUIT), (NIGHT, DOTS, GLASS, WAVES))}
"""From the samples alone."""

PHOTOGRAPH_GRIDS = {
    "defaults-photographs": Grid(
        (TUEBINGEN, *(f"content/{name}" for name in ("astronaut.png", "chelsea.png", "coffee.png"))),
        (STARRY, SCREAM, *(f"style/{name}.jpg" for name in ("great_wave", "composition_vii"))),
    )
}
"""From photographs and paintings."""

PHOTOGRAPHS: dict[str, Strip] = {
    "paper-sweep": Strip(
        TUEBINGEN,
        STARRY,
        [Cell(f"{r:g}", {"alpha_beta": r}) for r in (1e-4, 1e-3, 1e-2, 1e-1)],
        {"preset": "faithful-2016"},
    ),
}
"""The paper's own pictures."""


def paint(engine: Engine, strip: Strip, cell: Cell, side: int, folder: Path) -> Tensor:
    """One cell's picture."""
    content = _picture(strip.content, folder)
    named = cell.styles or ((strip.style, 1.0),)
    styles = [Style(_picture(name, folder), weight) for name, weight in named if weight > 0]
    if cell.mask:
        styles = [Style(one.image, one.weight, mask=_half(lower=cell.halves)) for one in styles]
    elif cell.halves:
        styles = [
            Style(one.image, one.weight, region=_half(lower=bool(number)))
            for number, one in enumerate(styles)
        ]
    request = {"size": side, **strip.spec, **cell.spec}
    init = _picture(DOTS, folder) if request.get("init") == "picture" else None
    spec = resolve(request, BACKBONES["compact"])
    return engine.stylize(content, styles, spec, init=init).image


def paint_strip(engine: Engine, name: str, strip: Strip, side: int, folder: Path) -> Image.Image:
    """One control."""
    cells = [paint(engine, strip, cell, side, folder) for cell in strip.cells]
    row = Header(name, _picture(strip.content, folder))
    return sheet([row], [Header(cell.label) for cell in strip.cells], [cells], side)


def paint_grid(engine: Engine, grid: Grid, side: int, folder: Path) -> Image.Image:
    """Every content in every style, painted on the defaults and shown at `side` pixels."""
    spec = resolve({}, BACKBONES["compact"])
    rows = [Header("", _picture(name, folder)) for name in grid.contents]
    columns = [Header("", _picture(name, folder)) for name in grid.styles]
    cells: list[list[Tensor]] = []
    for content in rows:
        cells.append([])
        for style in columns:
            outcome = engine.stylize(_given(content.image), [Style(_given(style.image))], spec)
            cells[-1].append(outcome.image)
            print(f"  {outcome.seconds:.1f} s in {outcome.dtype}", flush=True)
    return sheet(rows, columns, cells, side)


def _given(image: Tensor | None) -> Tensor:
    if image is None:
        raise ValueError("a grid's headers have pictures")
    return image


def _picture(name: str, folder: Path) -> Tensor:
    return decode(_find(name, folder).read_bytes())


def _half(*, lower: bool) -> Tensor:
    """A mask of the lower or upper half, soft where they meet."""
    ramp = torch.linspace(-8, 8, 64).sigmoid()[:, None].expand(64, 64)
    return ramp if lower else 1 - ramp


def _find(name: str, folder: Path) -> Path:
    return SAMPLES / name if (SAMPLES / name).is_file() else folder / name


def main() -> None:
    """Paint the strips that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("names", nargs="*", help="strips to paint; all by default")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images")
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--photographs", type=Path, help="folder with content/ and style/")
    options = parser.parse_args()
    strips = STRIPS | (PHOTOGRAPHS if options.photographs else {})
    grids = GRIDS | (PHOTOGRAPH_GRIDS if options.photographs else {})
    unknown = set(options.names) - set(strips) - set(grids)
    if unknown:
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join([*strips, *grids])}")
    engine = Engine(threads=options.threads)
    folder = options.photographs or SAMPLES
    for name in options.names or [*strips, *grids]:
        begun = time.perf_counter()
        if name in grids:
            save(paint_grid(engine, grids[name], options.side, folder), options.out / f"{name}.jpg")
        else:
            page = paint_strip(engine, name, strips[name], options.side, folder)
            save(page, options.out / f"control-{name}.jpg")
        print(f"{name}: {time.perf_counter() - begun:.0f} s", flush=True)


if __name__ == "__main__":
    main()
