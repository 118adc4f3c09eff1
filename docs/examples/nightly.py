"""A cron job over a folder: paint what is new, once, however often it runs and whatever happens meanwhile.

    0 2 * * *  python nightly.py photos/ starry.jpg paintings/

A job's ID is made of what it is to paint, so handing a picture in twice is handing it in once: no state is
kept here. Exit status 1 if a picture could not be painted; the next night tries it again, as that day's job.
"""

import hashlib
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from client import ApiError, Impasto, Request

SPEC = {"preset": "painting", "size": 512}


def requests(photos: Path, style: Path, paintings: Path) -> Iterator[Request]:
    """One for each photo without a painting."""
    night = f"{datetime.now(UTC):%Y%m%d}"
    for photo in sorted(photos.glob("*.jpg")):
        if not (paintings / photo.with_suffix(".png").name).exists():
            content = hashlib.sha256(photo.read_bytes() + style.read_bytes()).hexdigest()[:16]
            yield Request(
                photo, [style], spec=SPEC, id=f"nightly-{night}-{content}", metadata={"photo": photo.name}
            )


def handed_in(impasto: Impasto, wanted: Iterator[Request]) -> Iterator[str]:
    """IDs of the jobs. A conflict says that an earlier run has handed one in, from another upload."""
    for outcome in impasto.submit_many(wanted):
        error = outcome.error
        if outcome.job or (isinstance(error, ApiError) and error.code == "conflict"):
            yield outcome.request.id or ""
        else:
            print(f"{outcome.request.content!s}: {error}", file=sys.stderr)


def main(photos: Path, style: Path, paintings: Path) -> int:
    """Returns the exit status."""
    with Impasto() as impasto:
        # At most 500 jobs wait at a time; photos are read and uploaded as others are painted.
        jobs = handed_in(impasto, requests(photos, style, paintings))
        for job in impasto.as_completed(jobs, window=500):
            photo = job.metadata["photo"]
            if job.succeeded:
                impasto.download(job, paintings / Path(photo).with_suffix(".png"))
            else:
                print(f"{photo}: {job.status}: {job.error and job.error.detail}", file=sys.stderr)
    return 1 if any(requests(photos, style, paintings)) else 0


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:4])))
