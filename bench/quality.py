"""How good the painted pictures are: content kept, style met, noise; pair by pair, painter by painter.

    python -m bench.quality [--painters compact plain peers teacher vgg19] [--teacher FILE]
        [--content FILE ...] [--style FILE ...] [--spec JSON] [--save FOLDER] [--sheet FILE] [--json]
    python -m bench.quality --painted FOLDER [FOLDER ...]

Every content is painted in every style, by each painter. Or pictures that are already painted are
measured, each painter's in a folder of its own, as `--save` leaves them: `<content>--<style>.png`. The
unpainted content is measured too: where the scale begins. `plain` is `compact` painted as the peers do, from
the content at full size with 500 evaluations; `peers` is `plain` against Gram matrices, which is their recipe
whole; `vgg19` is of random weights here, normalised layer by layer.
"""

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from torch import Tensor

from bench import machine, measures
from bench.measures import Network
from bench.networks import offer, random_network, teacher_as_vgg
from bench.section import Section, Table
from bench.sheet import Header, save, sheet
from shared.backbones import BACKBONES
from shared.spec import resolve
from worker.engine import Engine, Style, images
from worker.engine.distill.teacher import load_teacher
from worker.engine.files import decode, encode
from worker.engine.vgg import LAYOUTS

PAINTERS = ("compact", "plain", "peers", "teacher", "vgg19")
PLAIN = {"pyramid": 1, "steps": 500}
OTHERWISE: Mapping[str, Mapping[str, object]] = {"plain": PLAIN, "peers": {**PLAIN, "style_loss": "gram"}}
"""What these two do otherwise, with the network `compact`."""
UNPAINTED = "(content)"
SAMPLES = Path(__file__).parents[1] / "samples"
SPEC = {"size": 256}
"""Fields of the spec that are not left at their defaults, unless `--spec` says otherwise."""

Pictures = Mapping[str, Tensor]

PROSE = """
Means over {pairs} pairs of the samples at {size} px. `ssim`: structural similarity to the content, 1 being
the same. `noise`: energy in the finest octave, as a share of the style's own (geometric mean); much above 1
is noise, far below it is smoothness. `gram random`: mean relative distance of the Gram matrices of picture
and style in a random network that nothing was optimised against; `gram teacher`, where it is given, in the
teacher, which is kind to its student `compact`. `(content)` is the unpainted content: where the scale
begins. `plain` is `compact` painted as the peers do, from the content at full size with 500 evaluations of
L-BFGS on the same objective, `peers` that against Gram matrices, which is their recipe whole. What the
numbers cannot say is in the [gallery](gallery.md).
"""


@dataclass(frozen=True)
class Painted:
    """One picture to be measured; `seconds` is None where it was not painted in this run."""

    painter: str
    content: str
    style: str
    image: Tensor
    seconds: float | None = None


@dataclass(frozen=True)
class Figure:
    """One line of the result. `gram` is the mean over the style layers, by judge."""

    painter: str
    content: str
    style: str
    ssim: float
    noise: float
    gram: dict[str, float]
    seconds: float | None


def read(paths: Sequence[Path]) -> dict[str, Tensor]:
    """Pictures by their files' names without endings."""
    return {path.stem: decode(path.read_bytes()) for path in paths}


def unpainted(contents: Pictures, styles: Pictures, longest: int) -> Iterator[Painted]:
    """The contents as they are, at the size that would be painted."""
    for content, image in contents.items():
        resized = images.resize(image, images.size_for(image, longest))
        for style in styles:
            yield Painted(UNPAINTED, content, style, resized)


def already_painted(folder: Path, contents: Pictures, styles: Pictures) -> Iterator[Painted]:
    """What `folder` holds of these pairs."""
    for content in contents:
        for style in styles:
            for path in sorted(folder.glob(f"{content}--{style}.*")):
                yield Painted(folder.name, content, style, decode(path.read_bytes()))


def paint(
    painter: str,
    contents: Pictures,
    styles: Pictures,
    fields: Mapping[str, object],
    options: argparse.Namespace,
) -> Iterator[Painted]:
    """Every content in every style, by one painter."""
    with tempfile.TemporaryDirectory() as folder:
        backbone = "compact" if painter in OTHERWISE else painter
        fields = {**fields, **OTHERWISE.get(painter, {})}
        if painter == "teacher":
            backbone = offer(teacher_as_vgg(options.teacher), Path(folder))
        elif painter == "vgg19":
            offer(random_network(LAYOUTS[painter]), Path(folder))
        engine = Engine(Path(folder), device=options.device)
        spec = resolve(dict(fields), BACKBONES[backbone])
        for content, image in contents.items():
            for style, style_image in styles.items():
                outcome = engine.stylize(image, [Style(style_image)], spec)
                print(f"{painter}: {content} after {style}, {outcome.seconds:.1f} s", file=sys.stderr)
                yield Painted(painter, content, style, outcome.image, outcome.seconds)


def measure(painted: Painted, content: Tensor, style: Tensor, judges: Mapping[str, Network]) -> Figure:
    """All measures of one picture, with content and style brought to its size."""
    image = painted.image
    reference = images.resize(content, (image.shape[1], image.shape[2]))
    style = images.resize(style, images.size_for(style, max(image.shape[1:])))
    return Figure(
        painter=painted.painter,
        content=painted.content,
        style=painted.style,
        ssim=measures.ssim(image, reference),
        noise=measures.noise_ratio(image, style),
        gram={
            name: statistics.fmean(measures.gram_distances(judge, image, style).values())
            for name, judge in judges.items()
        },
        seconds=painted.seconds,
    )


def means(figures: Sequence[Figure]) -> list[Figure]:
    """One line a painter, in the order of their appearance. Noise is a ratio, hence its geometric mean."""
    found = []
    for painter in dict.fromkeys(figure.painter for figure in figures):
        own = [figure for figure in figures if figure.painter == painter]
        taken = [figure.seconds for figure in own if figure.seconds is not None]
        found.append(
            Figure(
                painter=painter,
                content="mean",
                style=f"of {len(own)}",
                ssim=statistics.fmean(figure.ssim for figure in own),
                noise=statistics.geometric_mean(figure.noise for figure in own),
                gram={judge: statistics.fmean(figure.gram[judge] for figure in own) for judge in own[0].gram},
                seconds=statistics.fmean(taken) if taken else None,
            )
        )
    return found


def table(figures: Sequence[Figure]) -> Table:
    """One row a picture, or a mean."""
    judges = list(figures[0].gram)
    columns = ("painter", "content", "style", "ssim", "noise", *(f"gram {judge}" for judge in judges))
    rows = [
        [
            f"`{figure.painter}`",
            figure.content,
            figure.style,
            f"{figure.ssim:.3f}",
            f"{figure.noise:.2f}",
            *(f"{figure.gram[judge]:.3f}" for judge in judges),
        ]
        for figure in figures
    ]
    return Table(columns, rows)


def draw(painted: Sequence[Painted], contents: Pictures, styles: Pictures, path: Path) -> None:
    """A sheet: contents down, styles across, one column for each painter of a style."""
    painters = [name for name in dict.fromkeys(one.painter for one in painted) if name != UNPAINTED]
    by_place = {(one.painter, one.content, one.style): one.image for one in painted}
    columns = [(style, painter) for style in styles for painter in painters]
    page = sheet(
        [Header(_spoken(name), image) for name, image in contents.items()],
        [Header(f"{_spoken(style)}, {painter}", styles[style]) for style, painter in columns],
        [[by_place.get((painter, content, style)) for style, painter in columns] for content in contents],
    )
    save(page, path)


def _spoken(name: str) -> str:
    return name.replace("_", " ")


def arguments() -> argparse.ArgumentParser:
    """The command's options."""
    parser = machine.options(__doc__)
    parser.add_argument(
        "--content", type=Path, nargs="+", default=sorted((SAMPLES / "content").glob("*.jpg"))
    )
    parser.add_argument("--style", type=Path, nargs="+", default=sorted((SAMPLES / "style").glob("*.jpg")))
    parser.add_argument(
        "--painted", type=Path, nargs="+", help="measure these folders' pictures; paint nothing"
    )
    parser.add_argument("--painters", nargs="+", choices=PAINTERS, default=["compact", "plain"])
    parser.add_argument("--teacher", type=Path, help="weights of the teacher, to judge by and to paint with")
    parser.add_argument(
        "--spec", type=json.loads, default=SPEC, help=f"fields as JSON; {json.dumps(SPEC)} unless said"
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--save", type=Path, help="a folder to keep the painted pictures in, by painter")
    parser.add_argument("--sheet", type=Path, help="a .jpg or .png with all of them side by side")
    return parser


def pictures(contents: Pictures, styles: Pictures, options: argparse.Namespace) -> Iterator[Painted]:
    """What is to be measured, in the order of the table."""
    if options.painted:
        found = [one for folder in options.painted for one in already_painted(folder, contents, styles)]
        if found:
            yield from unpainted(contents, styles, max(max(one.image.shape[1:]) for one in found))
        yield from found
        return
    spec = resolve(dict(options.spec), BACKBONES["compact"])
    yield from unpainted(contents, styles, spec.size)
    for painter in options.painters:
        for one in paint(painter, contents, styles, options.spec, options):
            if options.save:
                path = options.save / painter / f"{one.content}--{one.style}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(encode(one.image, "png", 0))
            yield one


def main(argv: Sequence[str] | None = None) -> None:
    """Paint where asked, measure, print, draw."""
    parser = arguments()
    options = parser.parse_args(argv)
    if "teacher" in options.painters and options.teacher is None:
        parser.error("to paint with the teacher, name its file with --teacher")
    contents, styles = read(options.content), read(options.style)
    with machine.threads(options.threads):
        painted = list(pictures(contents, styles, options))
        if not painted:
            parser.error("there is none of these pairs in the folders of --painted")
        judges: dict[str, Network] = {"random": random_network()}
        if options.teacher:
            judges["teacher"] = load_teacher(options.teacher)
        figures = [measure(one, contents[one.content], styles[one.style], judges) for one in painted]
    if options.sheet:
        draw(painted, contents, styles, options.sheet)
    longest = max(max(one.image.shape[1:]) for one in painted)
    Section(
        "Quality",
        machine.command("bench.quality"),
        PROSE.format(pairs=len(contents) * len(styles), size=longest),
        machine.describe(options.threads),
        [table(means(figures))],
        [asdict(figure) for figure in figures],
    ).publish(as_json=options.json)


if __name__ == "__main__":
    main()
