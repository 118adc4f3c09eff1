"""Records of other schemas, with every index entry that the scripts of their time kept.

`SPEC_1` and `record_1` are what the first schema wrote, field by field: a spec without `alpha_beta`,
`style_loss`, `style_scale`, `color` and `photorealism`, a record without `init`, `bucket` and `batch`.
"""

import hashlib
import json
from typing import Any

import redis
from safetensors.torch import save
from torch import Tensor

from shared.ids import new_id
from shared.jobs.hashes import to_json
from shared.jobs.keys import Key
from shared.jobs.pictures import Picture

MINUTE = 60_000
HOUR = 60 * MINUTE

SPEC_1: dict[str, Any] = {
    "backbone": "compact",
    "content_layers": {"conv4_2": 1.0},
    "style_layers": {"conv1_1": 0.2, "conv2_1": 0.2, "conv3_1": 0.2, "conv4_1": 0.2, "conv5_1": 0.2},
    "content_weight": 1.0,
    "style_weight": 200.0,
    "tv_weight": 30.0,
    "weighting": "normalized",
    "init": "content",
    "seed": 0,
    "size": 64,
    "steps": 30,
    "optimizer": "lbfgs",
    "pyramid": 1,
    "pooling": "avg",
    "output_format": "png",
    "output_quality": 92,
}


def now(client: redis.Redis) -> int:
    """Milliseconds, by Redis' clock."""
    seconds, micros = client.time()
    return int(seconds) * 1000 + int(micros) // 1000


def record_1(
    client: redis.Redis, content: Picture, styles: tuple[Picture, ...], *, stage: str, owner: str = "ann"
) -> dict[str, Any]:
    """A queued job of schema 1, as it was right after its submission."""
    uid, time = new_id("job"), now(client)
    return {
        "uid": uid,
        "id": uid,
        "owner": owner,
        "schema": "1",
        "spec": json.dumps(SPEC_1, separators=(",", ":")),
        "content": to_json(content),
        "styles": to_json(styles),
        "metadata": '{"order":"A-17"}',
        "body_hash": hashlib.sha256(uid.encode()).hexdigest(),
        "priority": "0",
        "lane": "paint.compact",
        "status": "queued",
        "stage": stage,
        "created_at": time,
        "deadline_at": time + 24 * HOUR,
        "order": client.incr(Key.ORDER),
        "version": 1,
        "waiting_since": time,
    }


def plant(client: redis.Redis, record: dict[str, Any], **entries: int) -> str:
    """Write a record and the index entries of its state; returns its uid.

    Args:
        client: the server.
        record: the hash.
        entries: `leases`, `delayed` or `ended` with the entry's time; a queued job without any of them waits.
    """
    uid, owner, status = record["uid"], record["owner"], record["status"]
    client.hset(Key.JOB + uid, mapping=record)
    if record["id"] != uid:
        client.hset(Key.IDS + owner, record["id"], uid)
    client.zadd(f"{Key.LIST}{status}:{owner}", {uid: record["order"]})
    client.hincrby(Key.COUNTS, status, 1)
    for named in [json.loads(record["content"]), *json.loads(record["styles"])]:
        if "sha256" in named:
            client.hincrby(Key.REFS, named["sha256"], 1)
            client.zrem(Key.UNUSED, named["sha256"])
    for name, time in entries.items():
        client.zadd(Key[name.upper()], {uid: time})
    if "ended" not in entries:
        client.zadd(Key.DEADLINES, {uid: record["deadline_at"]})
    if not entries:
        lane = "intake" if record["stage"] == "fetching" else record["lane"]
        place = (9 - int(record["priority"])) * 10**13 + int(record["order"])
        client.zadd(f"{Key.WAIT}{lane}:{owner}", {uid: place})
        client.hincrby(Key.WAITING, lane, 1)
        if client.zscore(f"{Key.TURNS}{lane}", owner) is None:
            client.zadd(f"{Key.TURNS}{lane}", {owner: client.incr(Key.TURN)})
    return str(uid)


def painting(record: dict[str, Any], *, lease_lost_at: int) -> dict[str, Any]:
    """The record once a worker has begun to paint: its first attempt."""
    return {
        **record,
        "status": "processing",
        "stage": "painting",
        "fences": "1",
        "fence": "1-0123456789abcdef",
        "attempt": "1",
        "worker": "paint@old:1",
        "waited": "5",
        "started_at": lease_lost_at - MINUTE,
        "version": 3,
        "progress": '{"step":12,"steps":30,"level":0,"levels":1,"loss":{}}',
    }


def checkpoint_1(image: Tensor, step: int, size: tuple[int, ...]) -> bytes:
    """A checkpoint as the engine of the first schema wrote it, for one style of weight 1.

    Args:
        image: (3, H, W) float32.
        step: evaluations done.
        size: (3, H, W) of the content, and of the style.
    """
    facts = "\n".join([json.dumps(SPEC_1, separators=(",", ":")), str(size), f"{size} 1.0"])
    digest = hashlib.sha256(f"image {tuple(image.shape)} {image.dtype}".encode())
    digest.update(image.numpy().tobytes())
    metadata = {
        "format": "impasto-checkpoint-1",
        "fingerprint": hashlib.sha256(facts.encode()).hexdigest(),
        "step": str(step),
        "level": "0",
        "losses": "{}",
        "digest": digest.hexdigest(),
    }
    return save({"image": image.contiguous()}, metadata=metadata)
