"""Which inputs one record or one upload names."""

import json
from collections import Counter

from shared.jobs.pictures import Picture
from shared.jobs.record import SCHEMA


class Named(Counter[str]):
    """The inputs that one record or upload names, and how often.

    Attributes:
        readable: False where it may name others that cannot be seen.
    """

    readable = True

    @classmethod
    def by_record(cls, fields: list[str | None]) -> "Named":
        """Read `schema`, `content`, `styles` and `init` of a record."""
        schema, content, styles, init = fields
        found = cls()
        if content is None or styles is None:  # purged since
            return found
        try:
            if int(schema or 0) > SCHEMA:
                found.readable = False
                return found
            for plain in [json.loads(content), *json.loads(styles), *([json.loads(init)] if init else [])]:
                found._add(Picture.from_plain(plain))
        except (TypeError, ValueError):
            found.readable = False
        return found

    @classmethod
    def by_upload(cls, picture: str | None) -> "Named":
        """Read an upload's picture."""
        found = cls()
        try:
            if picture is not None:
                found._add(Picture.from_plain(json.loads(picture)))
        except (TypeError, ValueError):
            found.readable = False
        return found

    def _add(self, picture: Picture) -> None:
        if picture.sha256:
            self[picture.sha256] += 1
        for part in (picture.mask, picture.region):
            if part is not None:
                self._add(part)
