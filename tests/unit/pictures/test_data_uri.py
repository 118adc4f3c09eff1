import base64

import pytest

from shared.errors import PictureTooLarge, PictureUnreadable
from shared.pictures import parse_data_uri

DATA = bytes(range(256))
BASE64 = base64.b64encode(DATA).decode()


@pytest.mark.parametrize(
    "uri",
    [
        f"data:image/png;base64,{BASE64}",
        f"data:;base64,{BASE64}",
        f"DATA:image/jpeg;charset=x;BASE64,{BASE64}",
        f"data:image/png;base64,{BASE64.rstrip('=')}",
        "data:image/png;base64," + "\n".join(BASE64[at : at + 60] for at in range(0, len(BASE64), 60)),
        f"data:image/png;base64,{BASE64.replace('+', '%2B').replace('/', '%2F').replace('=', '%3D')}",
        "data:application/octet-stream," + "".join(f"%{byte:02x}" for byte in DATA),
    ],
)
def test_a_data_uri_gives_its_bytes(uri: str) -> None:
    assert parse_data_uri(uri, 256) == DATA


@pytest.mark.parametrize(
    "uri",
    ["", "data:", "data:image/png;base64", "http://x/,", "data:;base64,AA$A", "data:;base64,A", "x" * 1000],
)
def test_what_is_not_one_is_unreadable(uri: str) -> None:
    with pytest.raises(PictureUnreadable):
        parse_data_uri(uri, 100)


def test_one_that_is_too_large_says_where_larger_ones_go() -> None:
    with pytest.raises(PictureTooLarge, match=r"more than 0\.249 KiB.*POST /v1/uploads"):
        parse_data_uri(f"data:;base64,{BASE64}", 255)
    with pytest.raises(PictureTooLarge):
        parse_data_uri("data:," + "a" * 10_000_000, 255)
