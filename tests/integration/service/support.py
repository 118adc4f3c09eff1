"""What the tests of the whole house share: small jobs, small pictures, and watching a job."""

import io
import threading

import httpx
from PIL import Image

from client import Impasto, Job
from tests.support.waiting import wait_for
from tests.support.web import Exchange

SMALL = {"size": 64, "steps": 12, "pyramid": 1}
#: Runs until it is stopped, so that a test can act meanwhile.
LONG = {"size": 128, "steps": 5000, "pyramid": 1}
SECONDS = 90
#: A connection for each request: the server may close one that was kept just as it is used again.
NOT_KEPT = httpx.Limits(max_keepalive_connections=0)


class HeldPicture:
    """A picture whose server keeps the fetcher waiting.

    Attributes:
        asked: set when it is fetched.
        go_on: set it to have the picture sent.
    """

    def __init__(self) -> None:
        self.asked, self.go_on = threading.Event(), threading.Event()

    def __call__(self, exchange: Exchange) -> None:
        self.asked.set()
        self.go_on.wait(SECONDS)
        exchange.reply(200, picture(), Content_Type="image/png")


def picture(width: int = 96, height: int = 64, hue: int = 0) -> bytes:
    """A small PNG with structure: rings over a gradient."""
    image = Image.new("RGB", (width, height))
    image.putdata(
        [
            (
                (x * 5 + hue) % 256,
                (y * 7 + hue * 2) % 256,
                ((x - width // 2) ** 2 + (y - height // 2) ** 2) % 256,
            )
            for y in range(height)
            for x in range(width)
        ]
    )
    return _png(image)


def mask(width: int = 24, height: int = 16, *, upper: bool) -> bytes:
    """A small grey PNG, white in its upper or lower half and black in the other."""
    image = Image.new("L", (width, height), 0)
    image.paste(255, (0, 0 if upper else height // 2, width, height // 2 if upper else height))
    return _png(image)


def plain(colour: str) -> bytes:
    """A small PNG of one colour."""
    return _png(Image.new("RGB", (24, 16), colour))


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def facts(data: bytes) -> tuple[str | None, tuple[int, int]]:
    """Format and size of a picture file."""
    with Image.open(io.BytesIO(data)) as image:
        return image.format, image.size


def wait_until_painting(impasto: Impasto, job_id: str) -> Job:
    """The job, once a worker paints it and has said how far it is."""

    def painting() -> Job | None:
        job = impasto.get(job_id)
        assert not job.ended, job.error
        return job if job.stage == "painting" and job.progress else None

    return wait_for(painting, "painting to begin", SECONDS)
