"""Which input pictures are needed: references by jobs and uploads, and what nobody refers to any more.

An input is one object, `inputs/<sha256>`, however many jobs name it. References move with the jobs, in the
jobs' own scripts; here stands what happens before the first and after the last one.
"""

import json
import time
from collections.abc import Sequence
from typing import Any

import redis

from shared.errors import StorageUnavailable
from shared.jobs.hashes import to_json
from shared.jobs.keys import Key
from shared.jobs.pictures import INPUTS, Picture, input_key
from shared.jobs.policy import policy
from shared.jobs.scripts import Scripts
from shared.redis import translated
from shared.settings import Settings


class InputStore:
    """Inputs and uploads. Every method may raise `StoreUnavailable`."""

    def __init__(self, redis: redis.Redis, settings: Settings) -> None:
        self._redis = redis
        self._settings = settings
        self._scripts = Scripts(redis, policy(settings))

    def hold(self, sha256: str) -> None:
        """Keep `inputs/<sha256>` from deletion for an hour.

        Called before the input is stored; until the hold ends (by itself), a job or an upload refers to it.
        Waits while the same input is being deleted.

        Raises:
            StorageUnavailable: the deletion takes too long; try again.
        """
        patience = time.monotonic() + self._settings.redis_timeout
        while not self._scripts.run("hold", sha256=sha256)[0]:
            if time.monotonic() > patience:
                raise StorageUnavailable("an old copy of this picture is being removed")
            time.sleep(0.02)

    def garbage(self, limit: int) -> list[str]:
        """Keys of inputs that nobody has referred to for an hour, at most `limit`.

        They are marked, so that `hold` waits: report each with `forget` once it is deleted.
        """
        return [input_key(sha256) for sha256 in self._scripts.run("garbage", limit=limit)]

    def forget(self, key: str) -> None:
        """An input from `garbage` is deleted."""
        with translated():
            self._redis.zrem(Key.SWEEPING, key.removeprefix(INPUTS))

    def add_upload(self, owner: str, upload_id: str, picture: Picture) -> None:
        """Keep an uploaded picture's clean copy for the retention time."""
        # Uploads have no schema, and earlier versions want to be told the key.
        shown = to_json({"key": picture.key} | picture.to_plain())
        self._scripts.run("upload", owner=owner, upload_id=upload_id, picture=shown, sha256=picture.sha256)

    def upload(self, owner: str, upload_id: str) -> Picture | None:
        """An owner's upload, while it is kept."""
        with translated():
            picture: Any = self._redis.hget(Key.UPLOADS + owner, upload_id)
        return Picture.from_plain(json.loads(picture)) if picture else None

    def uploads(self, owner: str, upload_ids: Sequence[str]) -> list[Picture | None]:
        """Several of an owner's uploads, in their order; None where one is not kept."""
        with translated():
            found: Any = self._redis.hmget(Key.UPLOADS + owner, list(upload_ids))
        return [Picture.from_plain(json.loads(picture)) if picture else None for picture in found]
