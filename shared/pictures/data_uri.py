"""Pictures inside a `data:` URI (RFC 2397)."""

import base64
import binascii
import re
from urllib.parse import unquote_to_bytes

from shared.errors import PictureTooLarge, PictureUnreadable
from shared.pictures.sandbox import too_many_bytes

#: What stands before the comma: a type that decides nothing, parameters, and how the data is written.
_HEADER = re.compile(r"data:[^,]{0,200}?(?P<base64>;base64)?", re.IGNORECASE)


def parse_data_uri(text: str, limit: int) -> bytes:
    """The bytes of a data URI; whether they are a picture is for `clean` to say.

    Args:
        text: the whole URI.
        limit: most bytes of the decoded data.

    Raises:
        PictureUnreadable: not a data URI, or broken base64.
        PictureTooLarge: more than `limit` bytes.
    """
    header, comma, body = text.partition(",")
    found = _HEADER.fullmatch(header)
    if not comma or found is None:
        raise PictureUnreadable("This is not a data URI; write data:image/png;base64,... .")
    if len(body) > 4 * limit + 1024:  # percent-encoding takes three characters a byte, base64 fewer
        raise PictureTooLarge(_advice(limit))
    plain = unquote_to_bytes(body)
    data = _base64(plain) if found["base64"] else plain
    if len(data) > limit:
        raise PictureTooLarge(_advice(limit))
    return data


def _base64(text: bytes) -> bytes:
    packed = text.translate(None, b" \t\r\n").rstrip(b"=")
    try:
        return base64.b64decode(packed + b"=" * (-len(packed) % 4), altchars=None, validate=True)
    except binascii.Error as error:
        raise PictureUnreadable(f"The data URI's base64 is broken: {error}.") from error


def _advice(limit: int) -> str:
    return too_many_bytes(limit) + " Larger pictures go to POST /v1/uploads."
