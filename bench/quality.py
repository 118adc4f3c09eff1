"""How good the painted pictures are: content kept, style met, noise; pair by pair, painter by painter.

    python bench/quality.py [--backbones compact teacher vgg19] [--teacher FILE] [--content FILE ...]
        [--style FILE ...] [--spec JSON] [--save FOLDER] [--sheet FILE] [--json]
    python bench/quality.py --painted FOLDER [FOLDER ...]

Every content is painted in every style, with each backbone. Or pictures that are already painted are
measured, each painter's in a folder of its own, as `--save` leaves them: `<content>--<style>.png`. The
unpainted content is measured too: where the scale begins. `vgg19` is of random weights here, normalised layer
by layer. What the columns mean is said in `measures.py`. `gram random` is judged by a random network that
nothing was optimised against, `gram teacher` by the teacher; each is kind to its own kin, to the random
`vgg19` the one, to the teacher's and its student `compact`'s pictures the other.
"""
# ruff: noqa: E402 - this file's folder has to leave the path before anything is imported

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if __name__ == "__main__":
    sys.path[0] = str(ROOT)  # instead of bench/, where `api.py` would pass for the package `api`

import argparse
import json
import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from bench import measures
from bench.measures import Network
from bench.networks import offer, random_network, teacher_as_vgg
from bench.sheet import Header, save, sheet
from shared.backbones import BACKBONES
from shared.spec import resolve
from worker.engine import Engine, Style, images
from worker.engine.distill.teacher import load_teacher
from worker.engine.files import decode, encode
from worker.engine.vgg import LAYOUTS

PAINTERS = ("compact", "teacher", "vgg19")
UNPAINTED = "(content)"
SAMPLES = ROOT / "samples"
SPEC = {"size": 256}
"""Fields of the spec that are not left at their defaults, unless `--spec` says otherwise."""

Pictures = Mapping[str, Tensor]


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
        backbone = painter
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
        seconds = [figure.seconds for figure in own if figure.seconds is not None]
        found.append(
            Figure(
                painter=painter,
                content="mean",
                style=f"of {len(own)}",
                ssim=statistics.fmean(figure.ssim for figure in own),
                noise=statistics.geometric_mean(figure.noise for figure in own),
                gram={judge: statistics.fmean(figure.gram[judge] for figure in own) for judge in own[0].gram},
                seconds=statistics.fmean(seconds) if seconds else None,
            )
        )
    return found


def table(figures: Sequence[Figure]) -> str:
    """The figures as text."""
    judges = list(figures[0].gram)
    head = f"{'painter':12} {'content':16} {'style':18} {'ssim':>6} {'noise':>7}"
    lines = [head + "".join(f"{f'gram {judge}':>14}" for judge in judges) + f"{'seconds':>9}"]
    for figure in figures:
        seconds = f"{figure.seconds:9.1f}" if figure.seconds is not None else f"{'-':>9}"
        grams = "".join(f"{figure.gram[judge]:14.4f}" for judge in judges)
        names = f"{figure.painter[:12]:12} {figure.content[:16]:16} {figure.style[:18]:18}"
        lines.append(f"{names} {figure.ssim:6.3f} {figure.noise:7.2f}{grams}{seconds}")
    return "\n".join(lines)


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
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--content", type=Path, nargs="+", default=sorted((SAMPLES / "content").glob("*.jpg"))
    )
    parser.add_argument("--style", type=Path, nargs="+", default=sorted((SAMPLES / "style").glob("*.jpg")))
    parser.add_argument(
        "--painted", type=Path, nargs="+", help="measure these folders' pictures; paint nothing"
    )
    parser.add_argument("--backbones", nargs="+", choices=PAINTERS, default=["compact"], help="who paints")
    parser.add_argument("--teacher", type=Path, help="weights of the teacher, to judge by and to paint with")
    parser.add_argument(
        "--spec", type=json.loads, default=SPEC, help=f"fields as JSON; {json.dumps(SPEC)} unless said"
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=0, help="torch's CPU threads; 0 leaves them")
    parser.add_argument("--save", type=Path, help="a folder to keep the painted pictures in, by painter")
    parser.add_argument("--sheet", type=Path, help="a .jpg or .png with all of them side by side")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
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
    for painter in options.backbones:
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
    if "teacher" in options.backbones and options.teacher is None:
        parser.error("to paint with the teacher, name its file with --teacher")
    if options.threads:
        torch.set_num_threads(options.threads)
    contents, styles = read(options.content), read(options.style)
    painted = list(pictures(contents, styles, options))
    if not painted:
        parser.error("there is none of these pairs in the folders of --painted")
    judges: dict[str, Network] = {"random": random_network()}
    if options.teacher:
        judges["teacher"] = load_teacher(options.teacher)
    figures = [measure(one, contents[one.content], styles[one.style], judges) for one in painted]
    if options.sheet:
        draw(painted, contents, styles, options.sheet)
    if options.json:
        print(
            json.dumps(
                {
                    "spec": options.spec,
                    "figures": [asdict(figure) for figure in figures],
                    "means": [asdict(figure) for figure in means(figures)],
                },
                indent=2,
            )
        )
    else:
        print(table(figures), table(means(figures)), sep="\n\n")


if __name__ == "__main__":
    main()
