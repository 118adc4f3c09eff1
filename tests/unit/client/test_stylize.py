"""Painting without a service: what is asked for, and what is said where the engine is missing."""

import subprocess
import sys
from pathlib import Path

import click
import pytest

from client.stylize import local_spec

BLOCKED = (
    "import sys; sys.modules['torch'] = None\nfrom client.cli import main\nmain(['stylize', *sys.argv[1:]])"
)


def test_auto_is_the_backbone_whose_weights_come_with_the_package() -> None:
    assert local_spec({}).backbone == "compact"
    assert local_spec({"backbone": "auto", "size": 64}).size == 64


def test_a_backbone_may_be_named() -> None:
    assert local_spec({"backbone": "vgg19"}).backbone == "vgg19"


def test_a_network_outside_the_catalogue_may_be_named_with_its_layers() -> None:
    layers = {"content_layers": {"layer2": 1.0}, "style_layers": {"layer1": 1.0}}
    spec = local_spec({"backbone": "resnet34", **layers})
    assert (spec.backbone, spec.content_layers) == ("resnet34", layers["content_layers"])


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        ({"backbone": "vgg99"}, "content_layers: vgg99 has no default layers: .* choose one of compact"),
        ({"content_layers": {"conv9_9": 1.0}}, "content_layers: compact has no layer conv9_9"),
    ],
)
def test_what_is_not_there_is_a_usage_error(request_: dict[str, object], says: str) -> None:
    with pytest.raises(click.UsageError, match=says):
        local_spec(request_)


def test_without_the_engine_it_says_what_to_install(tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    picture.write_bytes(b"")
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED, picture, picture, "-o", tmp_path / "b.png"],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert (done.returncode, done.stderr) == (
        1,
        "impasto: painting here needs torch: pip install 'impasto[client,engine]'\n",
    )
