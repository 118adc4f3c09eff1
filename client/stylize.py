"""`impasto stylize`: paint on this machine, without a service. The engine is loaded only to paint."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import click

from client.console import FAILED, leave, reported, say
from client.errors import ImpastoError
from client.models import Image, Style
from client.options import format_for, given_init, given_spec, spec_options, style_options
from client.parameters import combined, output_file
from client.progress import ProgressBar
from shared.backbones import BACKBONES, uncatalogued
from shared.spec import Spec, UnresolvableSpecError, resolve

T = TypeVar("T")


class Pictures(NamedTuple):
    """The files to paint from."""

    content: Path
    styles: list[Style]
    init: str | None


class Machine(NamedTuple):
    """Where and how to compute, and where the weights lie."""

    device: str
    dtype: str
    weights_dir: Path


@click.command()
@click.argument("content", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument(
    "styles",
    nargs=-1,
    required=True,
    metavar="STYLE...",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@click.option(
    "-o",
    "--output",
    required=True,
    type=output_file,
    metavar="FILE",
    help="File for the picture; its ending says the format: .png, .jpg or .webp.",
)
@style_options
@spec_options
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps.")
@click.option(
    "--dtype",
    type=click.Choice(["auto", "float32", "tf32", "bfloat16"]),
    default="auto",
    show_default=True,
    help="Arithmetic of the feature network.",
)
@click.option(
    "--weights-dir",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="IMPASTO_WEIGHTS_DIR",
    default=Path("var/weights"),
    show_default=True,
    help="Folder with fetched weights; also IMPASTO_WEIGHTS_DIR.",
)
def stylize(
    content: Path,
    styles: tuple[Path, ...],
    *,
    output: Path,
    mix: tuple[float, ...] | None,
    masks: tuple[str, ...],
    regions: tuple[str, ...],
    device: str,
    dtype: str,
    weights_dir: Path,
    **options: Any,  # noqa: ANN401 - the spec's options
) -> None:
    """Repaint CONTENT in the style of each STYLE on this machine, without a service.

    Takes files. Needs the engine: pip install 'impasto[client,engine]'.
    """
    given = combined(styles, mix, masks, regions)
    pictures = Pictures(content, given, given_init(options))
    options["output_format"] = format_for(output, options["output_format"])
    spec = local_spec(given_spec(options))
    with reported():
        try:
            print(_paint(pictures, spec, output, Machine(device, dtype, weights_dir)))
        except ModuleNotFoundError as error:
            leave(FAILED, f"painting here needs {error.name}: pip install 'impasto[client,engine]'")


def _paint(pictures: Pictures, spec: Spec, output: Path, on: Machine) -> Path:
    # Loaded here: torch takes seconds, and the other commands do without it.
    from worker.engine import Engine, EngineError, Progress  # noqa: PLC0415
    from worker.engine import Style as Loaded  # noqa: PLC0415
    from worker.engine.files import decode, decode_grey, encode  # noqa: PLC0415

    def load(style: Style) -> Loaded:
        mask = None if style.mask is None else _read(style.mask, decode_grey)
        if mask is not None and not mask.any():
            raise ImpastoError(f"the mask {style.mask!s} is black throughout: white what is to count")
        region = None if style.region is None else _read(style.region, decode_grey)
        return Loaded(_read(style.image, decode), style.weight, mask, region)

    with ProgressBar() as bar:

        def on_progress(progress: Progress) -> None:
            bar.step(progress.step, progress.steps, progress.losses)

        bar.say("painting")
        content, styles = _read(pictures.content, decode), [load(style) for style in pictures.styles]
        init = None if pictures.init is None else _read(pictures.init, decode)
        try:
            engine = Engine(on.weights_dir, on.device, on.dtype)
            outcome = engine.stylize(content, styles, spec, on_progress=on_progress, init=init)
        except (EngineError, ValueError) as error:
            raise ImpastoError(str(error)) from error
    output.write_bytes(encode(outcome.image, spec.output_format, spec.output_quality))
    height, width = outcome.image.shape[-2:]
    say(f"{width} x {height} in {outcome.seconds:.1f} s on {outcome.device}, {spec.backbone}")
    return output


def _read(picture: Image, decode: Callable[[bytes], T]) -> T:
    data = picture if isinstance(picture, bytes) else Path(picture).read_bytes()
    try:
        return decode(data)
    except (OSError, SyntaxError, ValueError) as error:  # Pillow's ways to say it
        raise ImpastoError(f"{picture!s} cannot be read as a picture: {error}") from error


def local_spec(request: dict[str, Any]) -> Spec:
    """Fill a spec for this machine; `auto` is the backbone whose weights are part of the package.

    Raises:
        click.UsageError: it names what is not there.
    """
    wanted = request.get("backbone") or "auto"
    shipped = next(name for name, one in BACKBONES.items() if one.shipped)
    name = shipped if wanted == "auto" else wanted
    try:
        return resolve(request, BACKBONES.get(name) or uncatalogued(name))
    except UnresolvableSpecError as error:
        raise click.UsageError(f"{error.field}: {error}") from error
