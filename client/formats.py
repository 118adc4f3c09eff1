"""File formats of pictures, and the endings of names that stand for them."""

from pathlib import PurePath

from shared.spec import Spec

#: The format of a picture for which none is asked.
USUAL: str = Spec.model_fields["output_format"].default
#: Endings of each format that the spec names; the first is given to a file that has another.
SUFFIXES = {"png": (".png",), "jpeg": (".jpg", ".jpeg"), "webp": (".webp",)}


def format_of(path: PurePath) -> str | None:
    """The format that a file's name says it has; None where it says none of the spec's."""
    suffix = path.suffix.lower()
    return next((name for name, suffixes in SUFFIXES.items() if suffix in suffixes), None)


def format_in(content_type: str) -> str:
    """The format of a media type, as the spec names it: `image/png` is `png`."""
    return content_type.rpartition("/")[2]
