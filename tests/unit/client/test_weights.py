"""Weights are fetched once, checked, and put where the worker looks, whole or not at all."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from client.cli import main
from client.errors import DamagedError
from client.weights import PUBLISHED, Published, download
from shared.backbones import BACKBONES
from tests.support.web import Web, redirect, status

FILE = b"weights" * 100_000
SHA256 = hashlib.sha256(FILE).hexdigest()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "new" / "weights"


@pytest.fixture
def web() -> Iterator[Web]:
    with Web() as server:
        yield server


def fetch(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["weights", "fetch", "vgg19", "--dir", str(folder), *arguments])


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.is_dir() else {}


def stated(source: str) -> bytes:
    return (json.dumps({"sha256": SHA256, "source": source}, indent=2) + "\n").encode()


def test_every_backbone_has_weights_in_the_package_or_published() -> None:
    assert set(PUBLISHED) == {name for name, one in BACKBONES.items() if not one.shipped}


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_a_published_hash_begins_as_torchvisions_file_name_says(name: str) -> None:
    published = PUBLISHED[name]
    file = published.url.rpartition("/")[2]
    assert file.startswith(name)
    assert file.endswith(f"-{published.sha256[:8]}.pth")
    assert len(published.sha256) in (8, 64)
    assert set(published.sha256) <= set("0123456789abcdef")


def test_a_download_is_checked_and_its_hash_stated_beside_it(web: Web, folder: Path) -> None:
    url = web.file("/vgg19.pth", FILE)
    result = fetch(folder, "--url", url, "--sha256", SHA256.upper())
    name = f"vgg19-{SHA256[:8]}.pth"
    assert (result.exit_code, result.stdout) == (0, f"{folder / name}\n")
    assert contents(folder) == {name: FILE, f"vgg19-{SHA256[:8]}.json": stated(url)}


def test_where_only_the_first_digits_are_published_they_are_checked_and_the_whole_hash_is_stated(
    web: Web, tmp_path: Path
) -> None:
    url = web.file("/vgg11.pth", FILE)
    path = download(Published(url, SHA256[:8]), "vgg11", tmp_path)
    assert contents(tmp_path) == {path.name: FILE, f"vgg11-{SHA256[:8]}.json": stated(url)}
    download(Published(url, SHA256[:8]), "vgg11", tmp_path)
    assert len(web.seen) == 1
    with pytest.raises(DamagedError, match="expected 00000000"):
        download(Published(url, "00000000"), "vgg11", tmp_path)


def test_a_mirror_may_redirect(web: Web, folder: Path) -> None:
    web.file("/elsewhere", FILE)
    url = web.route("/vgg19.pth", redirect(web.url + "/elsewhere"))
    assert fetch(folder, "--url", url, "--sha256", SHA256).exit_code == 0


def test_what_is_there_already_is_not_downloaded_again(web: Web, folder: Path) -> None:
    url = web.file("/vgg19.pth", FILE)
    fetch(folder, "--url", url, "--sha256", SHA256)
    result = fetch(folder, "--url", url, "--sha256", SHA256)
    assert result.exit_code == 0
    assert "there already" in result.stderr
    assert len(web.seen) == 1


def test_a_damaged_copy_is_downloaded_again(web: Web, folder: Path) -> None:
    url = web.file("/vgg19.pth", FILE)
    name = f"vgg19-{SHA256[:8]}.pth"
    folder.mkdir(parents=True)
    (folder / name).write_bytes(FILE[:-1])
    assert fetch(folder, "--url", url, "--sha256", SHA256).exit_code == 0
    assert contents(folder)[name] == FILE


def test_a_mirror_with_another_file_leaves_nothing_behind(web: Web, folder: Path) -> None:
    result = fetch(folder, "--url", web.file("/vgg19.pth", b"something else"), "--sha256", SHA256)
    assert result.exit_code == 1
    assert f"expected {SHA256}" in result.stderr
    assert contents(folder) == {}


def test_a_file_at_hand_with_another_hash_is_not_taken(folder: Path) -> None:
    result = fetch(folder, "--from", str(make(folder, "x.pth", FILE)), "--sha256", "0" * 64)
    assert result.exit_code == 1
    assert contents(folder) == {}


def make(folder: Path, name: str, data: bytes) -> Path:
    path = folder.parent / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def test_a_mirror_that_says_no_ends_with_2(web: Web, folder: Path) -> None:
    assert fetch(folder, "--url", web.route("/x", status(404)), "--sha256", SHA256).exit_code == 2
    assert contents(folder) == {}


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_at_hand_is_copied_under_the_backbones_name(folder: Path, suffix: str) -> None:
    source = make(folder, f"mine{suffix}", FILE)
    result = fetch(folder, "--from", str(source))
    assert result.exit_code == 0
    assert "not the published file" in result.stderr
    name = f"vgg19{suffix}"
    assert contents(folder) == {name: FILE, "vgg19.json": stated(source.name)}


def test_a_file_at_hand_takes_the_place_of_one_in_the_other_format(folder: Path) -> None:
    fetch(folder, "--from", str(make(folder, "old.safetensors", b"old")))
    fetch(folder, "--from", str(make(folder, "new.pth", FILE)))
    assert contents(folder) == {"vgg19.pth": FILE, "vgg19.json": stated("new.pth")}


@pytest.mark.parametrize(
    "arguments",
    [("--from", "README.md"), ("--from", "missing.pth"), ("--sha256", "abc"), ("--url", "ftp://x/y")],
)
def test_a_wrong_command_line_ends_with_2(folder: Path, arguments: tuple[str, ...]) -> None:
    result = fetch(folder, *arguments)
    assert result.exit_code == 2
    assert contents(folder) == {}


def test_a_backbone_of_the_package_is_not_fetched() -> None:
    result = CliRunner().invoke(main, ["weights", "fetch", "compact"])
    assert result.exit_code == 2
