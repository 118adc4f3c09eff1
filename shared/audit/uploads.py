"""Whether every upload is kept with its end, and goes when that has come."""

from collections.abc import Iterator

from shared.audit.findings import Code, Finding
from shared.audit.named import Named
from shared.audit.places import PORTIONS_SECONDS
from shared.audit.reader import Reader
from shared.jobs.keys import Key


def check(reader: Reader) -> Iterator[Finding]:
    """What is wrong with uploads, but for the inputs that they are."""
    horizon = reader.now() - PORTIONS_SECONDS * 1000
    for owners in reader.keys(Key.UPLOADS):
        for owner in owners:
            for uploads in reader.fields(Key.UPLOADS + owner):
                for upload, _ in uploads:
                    yield from _upload(reader, owner, upload, horizon)
    for ends in reader.members(Key.UPLOAD_ENDS):
        for name, _ in ends:
            upload, _, owner = name.partition(":")
            yield from _upload(reader, owner, upload, horizon)


def _upload(reader: Reader, owner: str, upload: str, horizon: float) -> Iterator[Finding]:
    picture, ends = reader.at_once(
        ("HGET", Key.UPLOADS + owner, upload), ("ZSCORE", Key.UPLOAD_ENDS, f"{upload}:{owner}")
    )
    if (picture is None) != (ends is None):
        detail = "it is kept without an end" if ends is None else "its end is kept, but not the upload"
        repair = {"kind": "upload", "owner": owner, "upload_id": upload}
        yield Finding(Code.UPLOAD_DISAGREES, upload, detail, repair)
    elif picture is not None and not Named.by_upload(picture):
        yield Finding(Code.UPLOAD_DISAGREES, upload, "it does not say which input it is")
    elif ends is not None and float(ends) < horizon:
        yield Finding(Code.UPLOAD_OVERDUE, upload, "its retention is over but it is still kept")
