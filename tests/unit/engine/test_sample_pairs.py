"""Every sample content with every sample style, on the weights the package ships."""

from collections.abc import Callable
from pathlib import Path

import pytest

from shared.spec import Spec
from worker.engine import Engine, Style
from worker.engine.files import decode

SAMPLES = Path(__file__).parents[3] / "samples"
CONTENTS = sorted((SAMPLES / "content").glob("*.jpg"))
STYLES = sorted((SAMPLES / "style").glob("*.jpg"))


@pytest.fixture(scope="module")
def shipped() -> Engine:
    return Engine(device="cpu")


def test_there_are_three_contents_and_four_styles() -> None:
    assert (len(CONTENTS), len(STYLES)) == (3, 4)


@pytest.mark.parametrize("style", STYLES, ids=lambda path: path.stem)
@pytest.mark.parametrize("content", CONTENTS, ids=lambda path: path.stem)
def test_the_loss_falls_on_the_defaults(
    shipped: Engine, make_spec: Callable[..., Spec], content: Path, style: Path
) -> None:
    losses: list[float] = []
    shipped.stylize(
        decode(content.read_bytes()),
        [Style(decode(style.read_bytes()))],
        make_spec(size=64, steps=15),
        lambda progress: losses.append(progress.losses["total"]),
    )
    assert losses[-1] < 0.5 * losses[0]
