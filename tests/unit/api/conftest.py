"""The application without a network: Redis is an address where nothing listens."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from api.app import create_app
from shared.settings import Settings

NOWHERE = "redis://127.0.0.1:1/0"


@pytest.fixture
def make_app(tmp_path: Path) -> Callable[..., Flask]:
    def make(**settings: Any) -> Flask:
        return create_app(Settings(data_dir=tmp_path, redis_url=NOWHERE, **settings))

    return make


@pytest.fixture
def http(make_app: Callable[..., Flask]) -> FlaskClient:
    return make_app().test_client()
