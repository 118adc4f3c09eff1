"""Objects on an S3-compatible server.

Asks for no more than every such server has: single puts, gets, heads, deletes, lists, and uploads in
parts for what is too large to be held. Nothing relies on
conditional PUT, on multi-object delete or on the checksums that botocore adds by default since 1.36. A PUT is
atomic by S3's own rules.
"""

import io
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError

from shared.errors import StorageUnavailable
from shared.objects.base import (
    PROBE,
    PROBE_KEY,
    ObjectMissingError,
    ObjectStat,
    ObjectWriter,
    check_key,
    check_prefix,
)
from shared.objects.parts import PartsWriter
from shared.settings import Settings

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from types_boto3_s3 import S3Client

_CHUNK = 256 * 1024
#: Connections that are kept open: a batch's results are stored side by side.
CONNECTIONS = 32


@dataclass(frozen=True)
class Patience:
    """How long a server is waited for.

    Attributes:
        read_seconds: for it to go on sending or taking; connecting has 3 s.
        tries: in all, with botocore's pauses between them: three 503 in a row pass unnoticed.
        transfer_seconds: wall clock for one object to go out or come in, retries included. The read timeout
            alone would let a server that sends a byte now and then hold a worker for ever.
    """

    read_seconds: float = 30.0
    tries: int = 4
    transfer_seconds: float = 90.0


_WORKING = Patience()
#: For `check`, which a health endpoint calls.
_PROBING = Patience(read_seconds=3.0, tries=1, transfer_seconds=3.0)


class S3Objects:
    """An `ObjectStore` in one bucket, which is made by the first `check` or `put` that finds it missing."""

    def __init__(self, settings: Settings, patience: Patience = _WORKING) -> None:
        self._settings = settings
        self._patience = patience
        self._bucket = settings.s3_bucket
        self._session = boto3.session.Session()  # one, so that its service descriptions are read once
        self._client = self._connect(settings.s3_endpoint, patience)
        self._probing = self._connect(settings.s3_endpoint, _PROBING)
        public = settings.s3_public_endpoint
        self._signing = self._connect(public, patience) if public else self._client

    def put(self, key: str, data: bytes, content_type: str) -> None:
        """See `ObjectStore.put`."""
        with _translated("store"):
            self._put(self._client, check_key(key), data, content_type, self._patience)

    def get(self, key: str) -> bytes:
        """See `ObjectStore.get`."""
        with _translated("read"):
            return self._get(self._client, check_key(key), self._patience)

    def read(self, key: str, start: int = 0) -> Iterator[bytes]:
        """See `ObjectStore.read`. Where it breaks off it is asked for the rest, a few times in a row."""
        check_key(key)
        tries_left = self._patience.tries
        while True:
            with _translated("read"):
                try:
                    wanted = {"Range": f"bytes={start}-"} if start else {}
                    answer = self._client.get_object(Bucket=self._bucket, Key=key, **wanted)  # type: ignore[arg-type]
                    with closing(answer["Body"]) as body:
                        while chunk := body.read(_CHUNK):
                            yield chunk
                            start += len(chunk)
                            tries_left = self._patience.tries
                    return
                except ClientError as error:
                    if _status(error) == HTTPStatus.NOT_FOUND:
                        raise ObjectMissingError(key) from None
                    if _status(error) == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                        return
                    raise
                except (BotoCoreError, HTTPError):
                    tries_left -= 1
                    if not tries_left:
                        raise

    def writer(self, key: str, content_type: str) -> ObjectWriter:
        """See `ObjectStore.writer`."""
        return PartsWriter(
            self._client,
            self._bucket,
            check_key(key),
            content_type,
            put=self.put,
            make_bucket=lambda: self._make_bucket(self._client),
            translated=_translated,
        )

    def drop_unfinished(self, prefix: str, keep: Callable[[str], bool] = lambda _: False) -> None:
        """See `ObjectStore.drop_unfinished`."""
        with _translated("delete"):
            try:
                pages = self._client.get_paginator("list_multipart_uploads")
                for page in pages.paginate(Bucket=self._bucket, Prefix=check_prefix(prefix)):
                    for upload in page.get("Uploads", ()):
                        if not keep(upload["Key"]):
                            self._abort(upload["Key"], upload["UploadId"])
            except ClientError as error:
                if _status(error) != HTTPStatus.NOT_FOUND:
                    raise

    def _abort(self, key: str, upload: str) -> None:
        try:
            self._client.abort_multipart_upload(Bucket=self._bucket, Key=key, UploadId=upload)
        except ClientError as error:
            if _status(error) != HTTPStatus.NOT_FOUND:  # it has been completed, or aborted by another
                raise

    def stat(self, key: str) -> ObjectStat | None:
        """See `ObjectStore.stat`."""
        with _translated("read"):
            try:
                head = self._client.head_object(Bucket=self._bucket, Key=check_key(key))
            except ClientError as error:
                if _status(error) == HTTPStatus.NOT_FOUND:
                    return None
                raise
        return ObjectStat(key, head["ContentLength"], head["LastModified"].timestamp())

    def delete(self, key: str) -> None:
        """See `ObjectStore.delete`."""
        with _translated("delete"):
            try:
                self._client.delete_object(Bucket=self._bucket, Key=check_key(key))
            except ClientError as error:
                if _status(error) != HTTPStatus.NOT_FOUND:
                    raise

    def list(self, prefix: str) -> Iterator[ObjectStat]:
        """See `ObjectStore.list`. One page is asked for at a time."""
        with _translated("list"):
            try:
                pages = self._client.get_paginator("list_objects_v2")
                for page in pages.paginate(Bucket=self._bucket, Prefix=check_prefix(prefix)):
                    for item in page.get("Contents", ()):
                        yield ObjectStat(item["Key"], item["Size"], item["LastModified"].timestamp())
            except ClientError as error:
                if _code(error) != "NoSuchBucket":
                    raise

    def url(self, key: str, *, seconds: int, filename: str, content_type: str) -> str | None:
        """See `ObjectStore.url`. Signed for the public endpoint, without asking a server."""
        parameters = {
            "Bucket": self._bucket,
            "Key": check_key(key),
            "ResponseContentType": content_type,
            "ResponseContentDisposition": f'inline; filename="{check_key(filename)}"',
        }
        with _translated("sign"):
            return self._signing.generate_presigned_url("get_object", Params=parameters, ExpiresIn=seconds)

    def check(self) -> None:
        """See `ObjectStore.check`. One try, with short timeouts."""
        with _translated("answer"):
            self._put(self._probing, PROBE_KEY, PROBE, "text/plain", _PROBING)
            if self._get(self._probing, PROBE_KEY, _PROBING) != PROBE:
                raise StorageUnavailable("The object store does not give back what was stored")

    def _connect(self, endpoint: str | None, patience: Patience) -> "S3Client":
        access, secret = self._settings.s3_access_key, self._settings.s3_secret_key
        return self._session.client(
            "s3",
            endpoint_url=endpoint,
            region_name=self._settings.s3_region,
            aws_access_key_id=access.get_secret_value() if access else None,
            aws_secret_access_key=secret.get_secret_value() if secret else None,
            config=Config(
                signature_version="s3v4",
                s3={"addressing_style": "path"},
                max_pool_connections=CONNECTIONS,
                connect_timeout=3.0,
                read_timeout=patience.read_seconds,
                retries={"mode": "standard", "total_max_attempts": patience.tries},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )

    def _put(self, client: "S3Client", key: str, data: bytes, content_type: str, patience: Patience) -> None:
        body = _TimedBody(data, time.monotonic() + patience.transfer_seconds)
        try:
            client.put_object(Bucket=self._bucket, Key=key, Body=body, ContentType=content_type)
        except ClientError as error:
            if _code(error) != "NoSuchBucket":
                raise
            self._make_bucket(client)
            body.seek(0)
            client.put_object(Bucket=self._bucket, Key=key, Body=body, ContentType=content_type)

    def _get(self, client: "S3Client", key: str, patience: Patience) -> bytes:
        """Botocore repeats a request that fails, but not a body that breaks off: that is done here."""
        deadline = time.monotonic() + patience.transfer_seconds
        for tries_left in reversed(range(patience.tries)):
            try:
                answer = client.get_object(Bucket=self._bucket, Key=key)
                return _read(answer["Body"], answer["ContentLength"], deadline)
            except ClientError as error:
                if _status(error) == HTTPStatus.NOT_FOUND:
                    raise ObjectMissingError(key) from None
                raise
            except (BotoCoreError, HTTPError, StorageUnavailable):
                if not tries_left or time.monotonic() > deadline:
                    raise
        raise AssertionError("the last try returns or raises")

    def _make_bucket(self, client: "S3Client") -> None:
        region = self._settings.s3_region
        try:
            if region == "us-east-1":  # the one region that must not be named here
                client.create_bucket(Bucket=self._bucket)
            else:
                client.create_bucket(
                    Bucket=self._bucket,
                    CreateBucketConfiguration={"LocationConstraint": region},  # type: ignore[typeddict-item]
                )
        except ClientError as error:
            if _code(error) not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                raise


class _TimedBody(io.BytesIO):
    """A request's body that ends the request when it is still being read after `deadline`."""

    def __init__(self, data: bytes, deadline: float) -> None:
        super().__init__(data)
        self._deadline = deadline

    def read(self, size: int | None = -1, /) -> bytes:
        if time.monotonic() > self._deadline:
            raise TimeoutError("the transfer takes too long")
        return super().read(size)


def _read(body: "StreamingBody", size: int, deadline: float) -> bytes:
    """Read a body as it comes in: `body.read` would wait for a whole chunk, however slowly it drips."""
    chunks = []
    with closing(body):
        while chunk := body._raw_stream.read1(_CHUNK):  # type: ignore[attr-defined] # noqa: SLF001
            chunks.append(chunk)
            if time.monotonic() > deadline:
                raise StorageUnavailable("The object store sends too slowly")
    data = b"".join(chunks)
    if len(data) != size:
        raise StorageUnavailable("The object store broke off while sending")
    return data


@contextmanager
def _translated(what: str) -> Iterator[None]:
    """Name what failed without the server's address: a fault's detail is shown to callers."""
    try:
        yield
    except ClientError as error:
        raise StorageUnavailable(f"The object store failed to {what}: {_code(error)}") from error
    except (BotoCoreError, HTTPError, TimeoutError) as error:
        raise StorageUnavailable(f"The object store failed to {what}: {type(error).__name__}") from error


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", "unknown"))


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
