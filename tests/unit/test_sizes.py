"""Sizes of results."""

import pytest

from shared.sizes import size_for


@pytest.mark.parametrize(
    ("given", "longest", "expected"),
    [
        ((64, 96), 48, (32, 48)),
        ((96, 64), 48, (48, 32)),
        ((1, 1), 64, (64, 64)),
        ((1, 1000), 16, (1, 16)),
        ((341, 512), 512, (341, 512)),
    ],
)
def test_the_longest_side_is_as_asked_for_and_the_aspect_stays(
    given: tuple[int, int], longest: int, expected: tuple[int, int]
) -> None:
    assert size_for(*given, longest) == expected
