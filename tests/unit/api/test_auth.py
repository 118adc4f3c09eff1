from pathlib import Path

import pytest

from api.auth import OpenToAllError, check_binding
from shared.settings import Settings


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback_needs_no_token(host: str, tmp_path: Path) -> None:
    check_binding(Settings(data_dir=tmp_path, api_host=host))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "paint.example.org", ""])
def test_any_other_address_needs_one(host: str, tmp_path: Path) -> None:
    with pytest.raises(OpenToAllError, match="IMPASTO_API_TOKENS"):
        check_binding(Settings(data_dir=tmp_path, api_host=host))
    check_binding(Settings(data_dir=tmp_path, api_host=host, api_tokens={"alice": "secret"}))
