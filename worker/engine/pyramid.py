"""The levels of a painting, coarse to fine, and how many evaluations each may spend.

Forms larger than the deepest layer's receptive field can only arise where the picture is small; what they are
made of, and most of the loss, is settled at about 512 pixels. Beyond that little is left but detail, and an
evaluation costs most.
"""

from dataclasses import dataclass
from math import log2

SMALLEST_LEVEL = 64
"""Longest side below which a level is left out: conv5_1 would see four positions by four, or fewer."""

COARSEST = 96
"""Longest side below which no level begins when their number is left open, so that at every size the first
one is of 96 to 191 pixels and the style's forms are as large in proportion."""

FINER_SHARE, LARGE, LARGE_SHARE = 1.8, 640, 0.5
"""Each level's evaluations, as a share of those of the next coarser one: up to a longest side of `LARGE`
pixels, and from twice that on, with a slope between. With 256 evaluations and 512 pixels the loss comes
within a twentieth of what 500 evaluations at full size reach, in less than a sixth of their time
(docs/benchmarks.md)."""

COARSE_CONTENT, COARSER_CONTENT = 64.0, 4.0
"""By how much more the content counts at half the last level's size, and with each halving below that. From
sizes above `LARGE` px these are counted from `LARGE` down, which is large enough. In a small picture the
style moves whole forms as readily as it paints them; so, it paints them where they are (docs/engine.md)."""

DETAIL = 2.0
"""How much of the content's own detail is added to a level's picture when it is enlarged to the next size.
The level could not know it, and the next begins with contours instead of a blur (docs/engine.md)."""


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
        shares.append(shares[-1] * _share(longest))
    ends = [max(k + 1, round(steps * sum(shares[: k + 1]) / sum(shares))) for k in range(len(sizes))]
    # Rounding up for the coarse levels may not take the last evaluations from the fine ones.
    ends = [min(end, steps - (len(sizes) - 1 - k)) for k, end in enumerate(ends)]
    beyond = max(log2(size / LARGE), 0)
    contents = [_content(max(len(sizes) - 1 - k - beyond, 0)) for k in range(len(sizes))]
    return tuple(map(Level, sizes, ends, contents))


def _share(longest: int) -> float:
    """A level's evaluations, as a share of those of the next coarser one."""
    beyond = min(max(log2(longest / LARGE), 0), 1)
    return float(FINER_SHARE * (LARGE_SHARE / FINER_SHARE) ** beyond)


def _content(halvings: float) -> float:
    """What the content's weight is multiplied by, so many halvings below a size that is large enough."""
    return float(COARSE_CONTENT ** min(halvings, 1) * COARSER_CONTENT ** max(halvings - 1, 0))
