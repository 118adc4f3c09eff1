"""Style statistics in the object store."""

from pathlib import Path

import pytest

from shared.objects import open_objects
from shared.settings import Settings
from worker.statistics import StoredStatistics

KEY = "0f/compact-512"


def test_what_one_worker_put_another_gets(tmp_path: Path) -> None:
    one, other = (StoredStatistics(open_objects(Settings(data_dir=tmp_path))) for _ in range(2))
    assert one.get(KEY) is None
    one.put(KEY, b"gram")

    assert other.get(KEY) == b"gram"
    assert (tmp_path / "objects" / "styles" / KEY).exists()


def test_a_store_that_is_away_is_a_miss(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    loop = tmp_path / "objects" / "styles"
    loop.parent.mkdir()
    loop.symlink_to(loop)  # can be neither read nor written
    statistics = StoredStatistics(open_objects(Settings(data_dir=tmp_path)))
    statistics.put(KEY, b"gram")

    assert statistics.get(KEY) is None
    assert "are not kept" in caplog.text
    assert "are computed again" in caplog.text
