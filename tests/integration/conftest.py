"""Servers that integration tests share."""

from collections.abc import Iterator

import pytest

from tests.support.s3 import S3Server, start_s3
from tests.support.web import Web


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    """A real S3-compatible server; `s3.settings(...)` takes a bucket of its own each time."""
    server = start_s3()
    yield server
    server.stop()


@pytest.fixture
def web() -> Iterator[Web]:
    """A real HTTP server on loopback."""
    with Web() as server:
        yield server
