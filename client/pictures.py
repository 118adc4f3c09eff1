"""Pictures of a caller's own: handed in beforehand, side by side, and each content once.

Two files with the same bytes, or one file in a thousand requests, are one upload: what was uploaded is known
by the SHA-256 of its bytes as long as the client lives and the service keeps it.
"""

import hashlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from client.core import Call, Core, read_json
from client.errors import UnsendableError
from client.models import Image, Request, Style, StyleLike, Upload, WebhookLike
from client.plans import Forget, Once, Plan, Work, all_of

#: What a string must begin with, in either case of letters, to be passed on; any other is a file's path.
REFERENCES = ("http://", "https://", "upload:", "data:")
#: An address of some other kind. A single letter before the colon is a drive.
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
#: An upload that is deleted sooner than this is not relied on.
_MARGIN = timedelta(minutes=5)


class Pictures:
    """The pictures that one client has handed in."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def upload(self, picture: Image) -> Plan[Upload]:
        """Hand in a picture, unless the same bytes have been before.

        Raises:
            OSError: the file cannot be read.
        """
        data: bytes = yield Work(partial(_bytes, picture))
        name = "picture" if isinstance(picture, bytes) else _told_name(Path(picture))
        key = hashlib.sha256(data).hexdigest()
        known: Upload = yield Once(key, partial(self._hand_in, name, data))
        if known.expires_at is None or known.expires_at - _MARGIN > datetime.now(UTC):
            return known
        yield Forget(key)
        again: Upload = yield Once(key, partial(self._hand_in, name, data))
        return again

    def forget(self, pictures: Collection[Image]) -> Plan[None]:
        """Hand these in anew the next time: the service has them no more."""
        for picture in pictures:
            data: bytes = yield Work(partial(_bytes, picture))
            yield Forget(hashlib.sha256(data).hexdigest())

    def references(self, pictures: Iterable[Image]) -> Plan[dict[Image, str]]:
        """What names each picture in a request; files and bytes are handed in, side by side.

        Raises:
            OSError: a file cannot be read. None has been handed in then.
            UnsendableError: an address is of a kind that nobody fetches; likewise.
        """
        found = {picture: name for picture in pictures if (name := reference(picture)) is not None}
        ours = [picture for picture in dict.fromkeys(pictures) if picture not in found]
        yield Work(partial(_look_for, ours))
        uploads = yield from all_of([self.upload(picture) for picture in ours])
        return found | {picture: upload.ref for picture, upload in zip(ours, uploads, strict=True)}

    def body(self, request: Request) -> Plan[dict[str, Any]]:
        """A request as the wire has it."""
        return written(request, (yield from self.references(pictures_of(request))))

    def _hand_in(self, name: str, data: bytes) -> Plan[Upload]:
        # Twice is harmless: the second is deleted like any upload that no job names.
        call = Call("POST", "v1/uploads", files={"file": (name, data)}, again=True)
        return Upload.from_json(read_json((yield from self._core.request(call))))


def reference(image: Image) -> str | None:
    """What names the picture in a request as it stands; None for bytes and for a file's path.

    Raises:
        UnsendableError: it is an address of a kind that nobody fetches.
    """
    if not isinstance(image, str):
        return None
    scheme, colon, rest = image.partition(":")
    name = scheme.lower() + colon + rest
    if name.startswith(REFERENCES):
        return name
    if _ADDRESS.match(image):
        raise UnsendableError(f"{image}: a picture is an http or https address, a file, or upload:ID")
    return None


def pictures_of(request: Request) -> list[Image]:
    """Every picture that a request names."""
    return list(_pictures_of(request))


def styles_of(styles: Iterable[StyleLike]) -> list[Image | Style]:
    """Styles as they are written: alone where nothing stands beside them."""
    return [Style(*style) if isinstance(style, tuple) else style for style in styles]


def plain_spec(spec: Mapping[str, Any] | BaseModel | None) -> Mapping[str, Any] | None:
    """A spec as JSON has it."""
    return spec.model_dump(mode="json", exclude_none=True) if isinstance(spec, BaseModel) else spec


def plain_webhook(webhook: WebhookLike | None) -> Mapping[str, Any] | None:
    """A receiver as the wire has it."""
    return {"url": webhook} if isinstance(webhook, str) else webhook


def written(request: Request, names: Mapping[Image, str]) -> dict[str, Any]:
    """A request as the wire has it.

    Args:
        request: what is asked for.
        names: what names each of its pictures.
    """
    body: dict[str, Any] = {"content": names[request.content]}
    if request.styles:
        body["styles"] = [_style(style, names) for style in styles_of(request.styles)]
    optional = {
        "custom_id": request.custom_id,
        "init": None if request.init is None else names[request.init],
        "spec": plain_spec(request.spec),
        "metadata": request.metadata,
        "priority": request.priority,
        "deadline_seconds": request.deadline_seconds,
        "webhook": plain_webhook(request.webhook),
        "fresh": request.fresh,
    }
    return body | {name: value for name, value in optional.items() if value is not None}


def _style(style: Image | Style, names: Mapping[Image, str]) -> str | dict[str, Any]:
    if not isinstance(style, Style):
        return names[style]
    parts = {"mask": style.mask, "region": style.region}
    beside = {name: names[part] for name, part in parts.items() if part is not None}
    return {"image": names[style.image], "weight": style.weight} | beside


def _pictures_of(request: Request) -> Iterator[Image]:
    yield request.content
    for style in styles_of(request.styles):
        if isinstance(style, Style):
            yield from (one for one in (style.image, style.mask, style.region) if one is not None)
        else:
            yield style
    if request.init is not None:
        yield request.init


def _bytes(picture: Image) -> bytes:
    return picture if isinstance(picture, bytes) else Path(picture).read_bytes()


def _told_name(path: Path) -> str:
    """A file's name for the wire, where bytes that are no UTF-8 cannot be told."""
    return path.name.encode("utf-8", "replace").decode()


def _look_for(pictures: Iterable[Image]) -> None:
    for picture in pictures:
        if not isinstance(picture, bytes):
            Path(picture).stat()
