"""A second run of the house finds the first one's jobs and pictures."""

from pathlib import Path

import pytest

from client import ApiError, Impasto
from deploy.local import House, RunnerError
from shared.settings import Settings
from tests.integration.service.support import LONG, SECONDS, SMALL, picture, wait_until_painting
from tests.support.house import running_house

#: Longer than a machine that is slow holds up a worker: nobody dies here, so nobody has to wait for it.
LEASE = {"IMPASTO_LEASE_SECONDS": "20"}


def test_yesterdays_jobs_are_there_and_unfinished_ones_go_on(tmp_path: Path):
    with running_house(tmp_path / "data", **LEASE) as house, Impasto(house.url) as impasto:
        done = impasto.wait(impasto.submit(picture(), [picture(hue=1)], spec=SMALL).id, timeout=SECONDS)
        begun = impasto.submit(picture(), [picture(hue=2)], spec={**LONG, "steps": 600})
        wait_until_painting(impasto, begun.id)

    with running_house(tmp_path / "data", **LEASE) as house, Impasto(house.url) as impasto:
        again = impasto.get(done.id)
        assert again.output.sha256 == done.output.sha256
        assert impasto.download(again, tmp_path / "again.png").stat().st_size == done.output.bytes
        resumed = impasto.wait(begun.id, timeout=SECONDS)
        assert resumed.attempt == 1, "a stop is not charged to the job"
        impasto.delete(done.id)
        with pytest.raises(ApiError, match="404"):
            impasto.get(done.id)
        with pytest.raises(RunnerError, match="another runner uses"):
            House(Settings(data_dir=tmp_path / "data"), embed=True)
