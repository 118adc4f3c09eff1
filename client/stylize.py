"""`impasto stylize`: paint on this machine, without a service. The engine is loaded only to paint."""

from pathlib import Path
from typing import Any, NamedTuple

import click

from client.console import FAILED, leave, reported, say
from client.errors import ImpastoError
from client.options import given_spec, mix_option, spec_options
from client.parameters import weighted
from client.progress import ProgressBar
from shared.backbones import BACKBONES, uncatalogued
from shared.spec import Spec, UnresolvableSpecError, resolve

#: What a file's suffix says of its format.
FORMATS = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}


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
    type=click.Path(dir_okay=False, path_type=Path),
    help="File for the picture; its suffix says the format unless --output-format does.",
)
@mix_option
@spec_options
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps.")
@click.option(
    "--dtype",
    type=click.Choice(["auto", "float32", "bfloat16"]),
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
    device: str,
    dtype: str,
    weights_dir: Path,
    **options: Any,  # noqa: ANN401 - the spec's options
) -> None:
    """Repaint CONTENT in the style of each STYLE on this machine, without a service.

    Takes files. Needs the engine: pip install 'impasto[client,engine]'.
    """
    pairs = weighted(styles, mix)
    if options["output_format"] is None:
        options["output_format"] = FORMATS.get(output.suffix.lower())
    spec = local_spec(given_spec(options))
    with reported():
        try:
            print(_paint(content, pairs, spec, output, Machine(device, dtype, weights_dir)))
        except ModuleNotFoundError as error:
            leave(FAILED, f"painting here needs {error.name}: pip install 'impasto[client,engine]'")


def _paint(content: Path, styles: list[tuple[Path, float]], spec: Spec, output: Path, on: Machine) -> Path:
    # Loaded here: torch takes seconds, and the other commands do without it.
    from worker.engine import Engine, EngineError, Progress, Style  # noqa: PLC0415
    from worker.engine.files import decode, encode  # noqa: PLC0415

    def read(path: Path, weight: float = 1.0) -> Style:
        try:
            return Style(decode(path.read_bytes()), weight)
        except (OSError, SyntaxError, ValueError) as error:  # Pillow's ways to say it
            raise ImpastoError(f"{path} cannot be read as a picture: {error}") from error

    with ProgressBar() as bar:

        def on_progress(progress: Progress) -> None:
            bar.step(progress.step, progress.steps, progress.losses)

        bar.say("painting")
        picture, pictures = read(content).image, [read(*style) for style in styles]
        try:
            engine = Engine(on.weights_dir, on.device, on.dtype)
            outcome = engine.stylize(picture, pictures, spec, on_progress=on_progress)
        except (EngineError, ValueError) as error:
            raise ImpastoError(str(error)) from error
    output.write_bytes(encode(outcome.image, spec.output_format, spec.output_quality))
    height, width = outcome.image.shape[-2:]
    say(f"{width} x {height} in {outcome.seconds:.1f} s on {outcome.device}, {spec.backbone}")
    return output


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
