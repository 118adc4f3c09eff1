"""How large a result is: one formula, for those who plan a painting and for the engine that paints it."""


def size_for(height: int, width: int, longest: int) -> tuple[int, int]:
    """Height and width in pixels with the same aspect and a longest side of `longest`; no side below 1."""
    scale = longest / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))
