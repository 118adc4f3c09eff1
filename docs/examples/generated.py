"""A job end to end with the client that openapi-python-client has made (see README.md).

python generated.py bridge.jpg starry.jpg painting.png
"""

import os
import sys
import time
from io import BytesIO
from pathlib import Path

from impasto_generated import AuthenticatedClient, Client
from impasto_generated.api.default import create_job, create_upload, get_job, get_output
from impasto_generated.models import (
    CreateUploadFilesBody,
    JobRequest,
    JobView,
    SpecRequest,
    SpecRequestPreset,
    Status,
    UploadView,
)
from impasto_generated.types import File


def main(content: Path, style: Path, painting: Path) -> int:
    """Returns the exit status."""
    url, token = os.environ.get("IMPASTO_URL", "http://127.0.0.1:8000"), os.environ.get("IMPASTO_TOKEN")
    with AuthenticatedClient(url, token) if token else Client(url) as client:
        images = []
        for path in (content, style):
            file = File(BytesIO(path.read_bytes()), path.name, "image/*")
            upload = create_upload.sync(client=client, body=CreateUploadFilesBody([file]))
            assert isinstance(upload, UploadView), upload
            images.append(upload.image)
        spec = SpecRequest(preset=SpecRequestPreset.FAST, size=64, steps=5)
        request = JobRequest(images[0], [images[1]], spec=spec)
        job = create_job.sync(client=client, body=request, idempotency_key=f"{time.time_ns()}")
        assert isinstance(job, JobView), job
        while job.status in (Status.QUEUED, Status.PROCESSING):
            time.sleep(1)
            job = get_job.sync(job.id, client=client)
            assert isinstance(job, JobView), job
        if job.status is not Status.SUCCEEDED:
            print(job.error, file=sys.stderr)
            return 1
        picture = get_output.sync(job.id, client=client)
        assert isinstance(picture, File), picture
        painting.write_bytes(picture.payload.read())
    print(painting)
    return 0


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:4])))
