"""`impasto weights`: bring a backbone's weights to where the paint worker looks for them.

Paint workers have no way out to the network, so this is done beforehand: download once, check, put in place
in one step. Beside the file stands `<name>.json` with its SHA-256, which the engine checks at every load.
Needs no torch.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import click
from tqdm import tqdm

from client import parameters
from client.console import RETRIES, reported, say
from client.files import write_checked
from client.transport import Transport

CHUNK = 2**20
#: Formats that the engine reads: torchvision's, and safetensors.
SUFFIXES = (".pth", ".safetensors")

weights_dir_option = click.option(
    "--dir",
    "weights_dir",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="IMPASTO_WEIGHTS_DIR",
    default=Path("var/weights"),
    show_default=True,
    help="Folder of the weights; also IMPASTO_WEIGHTS_DIR.",
)


@dataclass(frozen=True)
class Published:
    """A weights file as its makers publish it."""

    url: str
    sha256: str


#: torchvision's IMAGENET1K_V1 weights. Their names carry the first digits of these hashes.
PUBLISHED = {
    "vgg19": Published(
        "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth",
        "dcbb9e9dad569fff7a846263a77324fc34978fea2bfb039c012d710e1776ae44",
    ),
    "vgg16": Published(
        "https://download.pytorch.org/models/vgg16-397923af.pth",
        "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
    ),
}


@click.group()
def weights() -> None:
    """Weights of the backbones that do not come with the package."""


@weights.command()
@click.argument("name", type=click.Choice(list(PUBLISHED)))
@weights_dir_option
@click.option(
    "--from",
    "source",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file to take instead of downloading: torchvision's .pth or .safetensors.",
)
@click.option("--url", help="Another address of the published file, such as a mirror's.")
@click.option(
    "--sha256",
    "expected",
    type=parameters.sha256,
    metavar="HEX",
    help="What the file must hash to; the published file's by default.",
)
def fetch(
    name: str, *, weights_dir: Path, source: Path | None, url: str | None, expected: str | None
) -> None:
    """Fetch the weights of backbone NAME, check their SHA-256 and put them where the worker looks.

    A file given with --from is taken as it is, unless --sha256 says what it must be.
    """
    if source and url:
        raise click.UsageError("--from and --url exclude each other")
    if url and not url.startswith(("http://", "https://")):
        raise click.BadParameter(f"{url} is not an http(s) address", param_hint="--url")
    if source and source.suffix not in SUFFIXES:
        raise click.UsageError(f"{source.name} should be a {' or '.join(SUFFIXES)} file")
    with reported():
        weights_dir.mkdir(parents=True, exist_ok=True)
        if source:
            print(take(name, source, weights_dir, expected))
        else:
            published = PUBLISHED[name]
            wanted = Published(url or published.url, expected or published.sha256)
            print(download(wanted, name, weights_dir))


def download(published: Published, name: str, folder: Path) -> Path:
    """Download a backbone's weights into a folder, unless they are there already; returns the file.

    Raises:
        ApiError, UnreachableError: the server refused, or did not answer.
        DamagedError: what arrived has another SHA-256.
    """
    target = folder / f"{name}-{published.sha256[:8]}.pth"
    if target.is_file() and _sha256(target) == published.sha256:
        say(f"{target} is there already")
    else:
        with (
            closing(Transport(published.url, None, timeout=60.0, retries=RETRIES)) as transport,
            tqdm(unit="B", unit_scale=True, desc=target.name, disable=None) as bar,
        ):

            def on_chunk(received: int, total: int | None) -> None:
                bar.total = total
                bar.update(received - bar.n)

            transport.save(published.url, target, published.sha256, on_chunk)
    _state_hash(target, published.sha256, published.url)
    return target


def take(name: str, source: Path, folder: Path, sha256: str | None) -> Path:
    """Copy a weights file into a folder, in place of the backbone's former ones; returns the copy.

    Raises:
        DamagedError: the file does not have the SHA-256 asked for.
    """
    target = folder / f"{name}{source.suffix}"
    found = _sha256(source)
    write_checked(target, _chunks(source), sha256 or found)
    for other in set(SUFFIXES) - {source.suffix}:
        target.with_suffix(other).unlink(missing_ok=True)  # the engine would go on with the old one
    _state_hash(target, found, source.name)
    known = found == PUBLISHED[name].sha256
    say(f"SHA-256 {found}, {'the published file' if known else 'not the published file'}")
    return target


def _state_hash(path: Path, sha256: str, source: str) -> None:
    """Say what the file must be, for the engine to check at every load, and where it came from."""
    stated = json.dumps({"sha256": sha256, "source": source}, indent=2)
    path.with_suffix(".json").write_text(stated + "\n", encoding="utf-8")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk
