"""A real S3-compatible server for tests.

The one that `IMPASTO_TEST_S3_ENDPOINT`, `..._ACCESS_KEY`, `..._SECRET_KEY` and `..._REGION` name, when they
are set; else moto's server as a process of its own on a free port.
"""

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr

from deploy.ports import free_port
from shared.settings import Settings


@dataclass(frozen=True)
class S3Server:
    """Where the server is, and how to sign for it."""

    endpoint: str
    access_key: str
    secret_key: str
    region: str
    process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    def settings(self, data_dir: Path, **more: object) -> Settings:
        """Settings that use this server, with a bucket of their own that does not exist yet."""
        values: dict[str, object] = {
            "data_dir": data_dir,
            "storage": "s3",
            "s3_endpoint": self.endpoint,
            "s3_bucket": f"impasto-{uuid.uuid4().hex[:12]}",
            "s3_region": self.region,
            "s3_access_key": SecretStr(self.access_key),
            "s3_secret_key": SecretStr(self.secret_key),
        }
        return Settings.model_validate({**values, **more})

    def stop(self) -> None:
        """End the process, when it is ours."""
        if self.process:
            self.process.terminate()
            self.process.wait(10)


def start_s3() -> S3Server:
    """The server that the environment names, or a fresh one; returns when it answers."""
    given = os.environ.get("IMPASTO_TEST_S3_ENDPOINT")
    if given:
        return S3Server(
            given,
            os.environ["IMPASTO_TEST_S3_ACCESS_KEY"],
            os.environ["IMPASTO_TEST_S3_SECRET_KEY"],
            os.environ.get("IMPASTO_TEST_S3_REGION", "us-east-1"),
        )
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    server = S3Server(f"http://127.0.0.1:{port}", "test", "testing", "us-east-1", process)
    deadline = time.monotonic() + 60
    while not _answers(server.endpoint):
        if process.poll() is not None or time.monotonic() > deadline:
            server.stop()
            raise RuntimeError("moto's S3 server did not start")
        time.sleep(0.1)
    return server


def _answers(endpoint: str) -> bool:
    try:
        urllib.request.urlopen(endpoint, timeout=2).close()
    except urllib.error.HTTPError as error:
        error.close()
    except OSError:
        return False
    return True
