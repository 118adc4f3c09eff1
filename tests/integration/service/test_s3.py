"""A job through the whole house with an S3 server for its pictures."""

import uuid
from pathlib import Path

import httpx

from client import Impasto
from tests.integration.service.support import SECONDS, SMALL, facts, picture
from tests.support.house import running_house
from tests.support.s3 import S3Server


def test_a_result_on_s3_is_reached_by_a_presigned_address(s3: S3Server, tmp_path: Path):
    settings = {
        "IMPASTO_STORAGE": "s3",
        "IMPASTO_S3_ENDPOINT": s3.endpoint,
        "IMPASTO_S3_BUCKET": f"impasto-{uuid.uuid4().hex[:12]}",
        "IMPASTO_S3_REGION": s3.region,
        "IMPASTO_S3_ACCESS_KEY": s3.access_key,
        "IMPASTO_S3_SECRET_KEY": s3.secret_key,
    }
    with running_house(tmp_path / "data", **settings) as house, Impasto(house.url) as impasto:
        job = impasto.wait(impasto.submit(picture(), [picture(hue=60)], spec=SMALL).id, timeout=SECONDS)

        redirect = httpx.get(job.output.url, timeout=60)
        assert redirect.status_code == httpx.codes.FOUND
        assert redirect.headers["location"].startswith(s3.endpoint)
        served = httpx.get(redirect.headers["location"], timeout=60)
        assert served.headers["content-type"] == "image/png"
        assert facts(served.content)[0] == "PNG"
        saved = impasto.download(job, tmp_path / "out.png")
        assert saved.read_bytes() == served.content
    assert not (tmp_path / "data" / "objects").exists()
