"""The pictures that a job names, as its record keeps them."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from shared.jobs.hashes import made

#: Where clean copies are kept among the objects.
INPUTS = "inputs/"
#: Pictures kept as read: those of many records are the same, and polls come again and again.
_KEPT_AS_READ = 2048


def input_key(sha256: str) -> str:
    """The object key of a clean copy with this hash."""
    return INPUTS + sha256


@dataclass(frozen=True)
class Picture:
    """An input picture: where it came from, and its clean copy once intake has made it.

    Attributes:
        source: as the caller wrote it: a URL, `upload:<id>`, or `data:` (the data itself is not kept here).
        weight: the style's share; 1 for what is no style.
        key: object key of the clean copy, `inputs/<sha256>`; None until intake has stored it.
        sha256: hash of the clean copy's bytes.
        width: pixels. height: pixels.
        mask: of a style: which part of it to learn from; None for all of it.
        region: of a style: which part of the content to paint with it; None for all of it.
    """

    source: str
    weight: float = 1.0
    key: str | None = None
    sha256: str | None = None
    width: int | None = None
    height: int | None = None
    mask: "Picture | None" = None
    region: "Picture | None" = None

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "Picture":
        """Read what `to_json` wrote."""
        parts: dict[str, Any] = {
            name: cls.from_plain(plain[name]) for name in ("mask", "region") if name in plain
        }
        if "sha256" in plain and "key" not in plain:
            parts["key"] = input_key(plain["sha256"])
        return made(cls, {**plain, **parts})

    def to_plain(self) -> dict[str, Any]:
        """What is kept of it: without what follows from the rest, since many thousands are kept."""
        plain = {name: part for name, part in vars(self).items() if part is not None}
        if self.sha256 is not None and self.key == input_key(self.sha256):
            del plain["key"]
        if self.weight == 1:
            del plain["weight"]
        return plain


@dataclass(frozen=True)
class Inputs:
    """Every picture that a job names.

    Attributes:
        content: the picture to repaint.
        styles: the pictures to repaint it after, each with its mask and region.
        init: the picture to start from; None where the spec starts from something else.
    """

    content: Picture
    styles: tuple[Picture, ...]
    init: Picture | None = None

    def each(self) -> Iterator[tuple[str, Picture]]:
        """The pictures one by one, each with its JSON pointer into the request."""
        yield "/content", self.content
        for index, style in enumerate(self.styles):
            yield f"/styles/{index}", style
            if style.mask:
                yield f"/styles/{index}/mask", style.mask
            if style.region:
                yield f"/styles/{index}/region", style.region
        if self.init:
            yield "/init", self.init

    def changed(self, change: Callable[[Picture], Picture]) -> "Inputs":
        """The same pictures after `change`, which leaves a style's mask and region to its own calls."""

        def style(picture: Picture) -> Picture:
            mask, region = (part and change(part) for part in (picture.mask, picture.region))
            return replace(change(picture), mask=mask, region=region)

        init = self.init and change(self.init)
        return Inputs(change(self.content), tuple(map(style, self.styles)), init)

    @property
    def stored(self) -> bool:
        """True when every picture has its clean copy, so that there is nothing to fetch."""
        return all(picture.key for _, picture in self.each())


@lru_cache(_KEPT_AS_READ)
def read_picture(text: str) -> Picture:
    """The picture of a record's field."""
    return Picture.from_plain(json.loads(text))


@lru_cache(_KEPT_AS_READ)
def read_pictures(text: str) -> tuple[Picture, ...]:
    """The pictures of a record's field."""
    return tuple(map(Picture.from_plain, json.loads(text)))
