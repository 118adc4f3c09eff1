"""Draw the sample pictures: `python -m samples.draw` redraws all of them, or those named, where they lie.

Every picture comes from its own module's arithmetic and fixed seeds: no photograph, no painting.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

from samples import (
    coast,
    night_brushwork,
    pointillism,
    stained_glass,
    still_life,
    town,
    woodblock_waves,
)
from samples.canvas import Array, save_jpeg

SIZE = 768
"""Pixels along the long side of a committed sample."""

PICTURES: dict[str, Callable[[int], Array]] = {
    "content/coast": coast.draw,
    "content/still_life": still_life.draw,
    "content/town": town.draw,
    "style/night_brushwork": night_brushwork.draw,
    "style/pointillism": pointillism.draw,
    "style/stained_glass": stained_glass.draw,
    "style/woodblock_waves": woodblock_waves.draw,
}
"""From a picture's path without its ending to what draws it, given the pixels of its long side."""


def main(arguments: list[str] | None = None) -> None:
    """Draw the pictures named on the command line, or all of them."""
    parser = argparse.ArgumentParser(prog="python -m samples.draw", description=__doc__)
    parser.add_argument(
        "names", nargs="*", choices=[[], *PICTURES], help="pictures to draw; all when none is named"
    )
    parser.add_argument(
        "--size", type=int, default=SIZE, help="pixels of the long side (default %(default)s)"
    )
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent, help="folder for content/ and style/"
    )
    options = parser.parse_args(arguments)
    for name in options.names or PICTURES:
        started = time.perf_counter()
        path = options.out / f"{name}.jpg"
        size = save_jpeg(PICTURES[name](options.size), path)
        print(f"{path}: {size} bytes, {time.perf_counter() - started:.1f} s")


if __name__ == "__main__":
    main()
