"""`impasto weights`: bring a backbone's weights to where the paint worker looks for them.

Paint workers have no way out to the network, so this is done beforehand: download once, check, put in place
in one step. Beside the file stands `<name>.json` with its SHA-256, which the engine checks at every load.
Needs no torch.
"""

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import click
from tqdm import tqdm

from client import parameters
from client.console import RETRIES, reported, say
from client.core import Core
from client.files import sha256_of, write_checked
from client.transport import Transport

CHUNK = 2**20
#: Seconds to wait for each answer.
TIMEOUT = 60.0
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
    """A weights file as its makers publish it.

    Attributes:
        url: its address.
        sha256: its SHA-256, or the first digits of it, where no more of it is published.
    """

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
    "vgg13": Published("https://download.pytorch.org/models/vgg13-19584684.pth", "19584684"),
    "vgg11": Published("https://download.pytorch.org/models/vgg11-8a719046.pth", "8a719046"),
    "resnet18": Published(
        "https://download.pytorch.org/models/resnet18-f37072fd.pth",
        "f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec",
    ),
    "resnet50": Published(
        "https://download.pytorch.org/models/resnet50-0676ba61.pth",
        "0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a",
    ),
    "squeezenet1_1": Published(
        "https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth",
        "b8a52dc049b60e4b6ab68ad0df457362afab8b6304b2febdc1650a5dab4d7e7b",
    ),
    "convnext_tiny": Published(
        "https://download.pytorch.org/models/convnext_tiny-983f1562.pth",
        "983f1562536e84ff750a1576fb08e54de751dbf2e17c0d8a4a13704341fdcd3d",
    ),
    "densenet121": Published(
        "https://download.pytorch.org/models/densenet121-a639ec97.pth",
        "a639ec97d7c33b07ae66f0b5fb7d0192f95a3b11b7576c66c0126c2a727c4395",
    ),
    "mobilenet_v3_large": Published(
        "https://download.pytorch.org/models/mobilenet_v3_large-8738ca79.pth",
        "8738ca797c879b547d18bbd15da5736ff2557b2036a9af72225393ca61759a04",
    ),
    "efficientnet_b0": Published(
        "https://download.pytorch.org/models/efficientnet_b0_rwightman-7f5810bc.pth",
        "7f5810bc96def8f7552d5b7e68d53c4786f81167d28291b21c0d90e1fca14934",
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
    if target.is_file() and sha256_of(target).startswith(published.sha256):
        say(f"{target} is there already")
    else:
        with (
            closing(Transport(TIMEOUT)) as transport,
            tqdm(unit="B", unit_scale=True, desc=target.name, disable=None) as bar,
        ):

            def on_chunk(received: int, total: int | None) -> None:
                bar.total = total
                bar.update(received - bar.n)

            core = Core(published.url, None, TIMEOUT, RETRIES)
            transport.run(core.save(published.url, target, published.sha256, on_chunk))
    _state_hash(target, sha256_of(target), published.url)
    return target


def take(name: str, source: Path, folder: Path, sha256: str | None) -> Path:
    """Copy a weights file into a folder, in place of the backbone's former ones; returns the copy.

    Raises:
        DamagedError: the file does not have the SHA-256 asked for.
    """
    target = folder / f"{name}{source.suffix}"
    found = sha256_of(source)
    write_checked(target, _chunks(source), sha256 or found)
    for other in set(SUFFIXES) - {source.suffix}:
        target.with_suffix(other).unlink(missing_ok=True)  # the engine would go on with the old one
    _state_hash(target, found, source.name)
    known = found.startswith(PUBLISHED[name].sha256)
    say(f"SHA-256 {found}, {'the published file' if known else 'not the published file'}")
    return target


def _state_hash(path: Path, sha256: str, source: str) -> None:
    """Say what the file must be, for the engine to check at every load, and where it came from."""
    stated = json.dumps({"sha256": sha256, "source": source}, indent=2)
    path.with_suffix(".json").write_text(stated + "\n", encoding="utf-8")


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk
