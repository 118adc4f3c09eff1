"""From alpha / beta as the paper writes it to the weights that give such a picture here.

Read to the letter, the paper's ratio does not give the paper's pictures: the content term, a sum, grows
with N M, while E_l does not. Both weightings therefore take the ratio against a content term per entry of
the layer's features, and one constant each, found by painting the paper's sweep (1e-4 to 1e-1) and looking.
"""

from shared.spec import GRAM_STRENGTH, Spec

NORMALIZED = 0.015
"""`normalized`: beta = NORMALIZED / ratio at alpha = 1, so that the default style weight of 512 px and more,
15, is the ratio 1e-3 which the paper uses most; for Gram matrices it is `GRAM_STRENGTH` times as much."""

PAPER = 8.0
"""`paper`: a content layer counts alpha = PAPER * ratio / (N M) at beta = 1."""


def style_weight(spec: Spec) -> float:
    """Beta: what the style term is multiplied by."""
    if spec.alpha_beta is None:
        return spec.style_weight
    if spec.weighting == "paper":
        return 1.0
    return (GRAM_STRENGTH if spec.style_loss == "gram" else 1.0) * NORMALIZED / spec.alpha_beta


def content_weight(spec: Spec, entries: int) -> float:
    """Alpha: what a content layer of N M `entries` is multiplied by, beside its own weight."""
    if spec.alpha_beta is None:
        return spec.content_weight
    return PAPER * spec.alpha_beta / entries if spec.weighting == "paper" else 1.0
