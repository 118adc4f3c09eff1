"""An object on an S3 server that is sent in parts while it is written: S3's multipart upload.

A part is sent once it is full, so that no more than one is held. What is smaller than a part goes as a single
PUT. The server shows nothing of it before it is complete.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import CompletedPartTypeDef

#: S3 takes parts from 5 MiB on, and 10 000 of them: small ones first, then such that half a terabyte fits.
PART_BYTES, LARGE_PART_BYTES, SMALL_PARTS = 8 * 2**20, 64 * 2**20, 1000

#: Turns what goes wrong into faults; given what failed.
Translated = Callable[[str], AbstractContextManager[None]]


class PartsWriter:
    """An `ObjectWriter` of one object.

    Args:
        client: of the server. bucket: its name. key: the object's. content_type: its type.
        put: stores a whole object. make_bucket: makes the bucket, where it is not there yet.
        translated: names faults.
    """

    def __init__(
        self,
        client: "S3Client",
        bucket: str,
        key: str,
        content_type: str,
        put: Callable[[str, bytes, str], None],
        make_bucket: Callable[[], None],
        translated: Translated,
    ) -> None:
        self._client, self._bucket, self._key, self._content_type = client, bucket, key, content_type
        self._put, self._make_bucket, self._translated = put, make_bucket, translated
        self._held = bytearray()
        self._upload: str | None = None
        self._parts: list[CompletedPartTypeDef] = []

    def write(self, data: bytes) -> None:
        """See `ObjectWriter.write`."""
        self._held += data
        while len(self._held) >= self._part_bytes:
            part = bytes(self._held[: self._part_bytes])
            self._send(part)
            del self._held[: len(part)]

    def close(self) -> None:
        """See `ObjectWriter.close`."""
        if self._upload is None:
            self._put(self._key, bytes(self._held), self._content_type)
            return
        if self._held:
            self._send(bytes(self._held))
        with self._translated("store"):
            self._client.complete_multipart_upload(
                Bucket=self._bucket,
                Key=self._key,
                UploadId=self._upload,
                MultipartUpload={"Parts": self._parts},
            )
        self._upload = None
        self._held.clear()

    def abandon(self) -> None:
        """See `ObjectWriter.abandon`."""
        upload, self._upload = self._upload, None
        self._held.clear()
        if upload is not None:
            with suppress(BotoCoreError, ClientError, HTTPError):
                self._client.abort_multipart_upload(Bucket=self._bucket, Key=self._key, UploadId=upload)

    @property
    def _part_bytes(self) -> int:
        return PART_BYTES if len(self._parts) < SMALL_PARTS else LARGE_PART_BYTES

    def _send(self, part: bytes) -> None:
        number = len(self._parts) + 1
        with self._translated("store"):
            if self._upload is None:
                self._upload = self._begin()
            sent = self._client.upload_part(
                Bucket=self._bucket, Key=self._key, UploadId=self._upload, PartNumber=number, Body=part
            )
        self._parts.append({"PartNumber": number, "ETag": sent["ETag"]})

    def _begin(self) -> str:
        def begin() -> str:
            return self._client.create_multipart_upload(
                Bucket=self._bucket, Key=self._key, ContentType=self._content_type
            )["UploadId"]

        try:
            return begin()
        except self._client.exceptions.NoSuchBucket:
            self._make_bucket()
            return begin()
