"""The levels of a painting, coarse to fine, and how many evaluations each may spend.

Forms larger than the deepest layer's receptive field can only arise where the picture is small; what they are
made of, and most of the loss, is settled at about 512 pixels. Beyond that little is left but detail, and an
evaluation costs most.
"""

from dataclasses import dataclass

SMALLEST_LEVEL = 64
"""Longest side below which a level is left out: conv5_1 would see four positions by four, or fewer."""

COARSEST = 96
"""Longest side below which no level begins when their number is left open, so that at every size the first
one is of 96 to 191 pixels and the style's forms are as large in proportion."""

FINER_SHARE, LARGE, LARGE_SHARE = 1.25, 640, 0.5
"""Each level's evaluations, as a share of those of the next coarser one: up to a longest side of `LARGE`
pixels, and beyond. With 320 evaluations and 512 pixels the loss comes within about a thirtieth of what 500
evaluations at full size reach, in a sixth of their time (docs/benchmarks.md)."""

COARSE_CONTENT = 16.0
"""By how much more the content counts at each coarser level, from the finest one of at most `LARGE` px on.
In a small picture the style moves whole forms as readily as it paints them; so, it paints them where they
are (docs/engine.md)."""


@dataclass(frozen=True)
class Level:
    """One level.

    Attributes:
        longest: the longest side in pixels.
        end: evaluations done when it ends, counted over all levels.
        content: what the content's weight is multiplied by.
    """

    longest: int
    end: int
    content: float = 1.0


def plan(size: int, steps: int, levels: int) -> tuple[Level, ...]:
    """Share `steps` evaluations among at most `levels` levels that end with `size` and double towards it.

    With `levels` 0 there are as many as begin near 128 pixels.

    A level has at least one evaluation, so fewer steps than levels leave the coarsest out.
    """
    sizes = [size]
    most, least = (levels, SMALLEST_LEVEL) if levels else (steps, COARSEST)
    while len(sizes) < min(most, steps) and round(size / 2 ** len(sizes)) >= least:
        sizes.append(round(size / 2 ** len(sizes)))
    sizes.reverse()
    shares = [1.0]
    for longest in sizes[1:]:
        shares.append(shares[-1] * (FINER_SHARE if longest <= LARGE else LARGE_SHARE))
    ends = [max(k + 1, round(steps * sum(shares[: k + 1]) / sum(shares))) for k in range(len(sizes))]
    # Rounding up for the coarse levels may not take the last evaluations from the fine ones.
    ends = [min(end, steps - (len(sizes) - 1 - k)) for k, end in enumerate(ends)]
    finer = sum(longest <= LARGE for longest in sizes) - 1
    contents = [COARSE_CONTENT ** max(finer - k, 0) for k in range(len(sizes))]
    return tuple(map(Level, sizes, ends, contents))
