"""An item of a batch is understood as the same body of a single job is."""

import json
from typing import Any

import pytest

from shared.requests.bodies import parse, validated
from shared.requests.models import ItemRequest

FULL: dict[str, Any] = {
    "custom_id": "a",
    "content": "https://example.org/bridge.jpg",
    "styles": [
        "https://example.org/a.jpg",
        {"image": "https://example.org/b.jpg", "weight": 1, "mask": "upload:m"},
    ],
    "init": "upload:up_1",
    "spec": {
        "preset": "fast",
        "size": 64,
        "style_weight": 2,
        "content_layers": {"conv4_2": 1},
        "seed": 2**53 - 1,
    },
    "metadata": {"order": "A-17"},
    "priority": 3,
    "deadline_seconds": 60,
    "webhook": {"url": "https://example.org/hook", "events": ["job.failed"]},
    "fresh": True,
}
WRONG: list[dict[str, Any]] = [
    {"priority": 3.0},
    {"priority": "3"},
    {"priority": True},
    {"fresh": 1},
    {"spec": {"size": 64.0}},
    {"spec": {"size": "64"}},
    {"spec": {"seed": 2**60}},
    {"spec": []},
    {"metadata": {"a": 1}},
    {"metadata": {"": "x"}},
    {"styles": {}},
    {"metadata": []},
    {"styles": [7]},
    {"webhook": {"url": "ftp://example.org", "events": ["job.done"]}},
    {"deadline_seconds": 0},
    {"custom_id": ""},
    {"content": "https://"},
    {"unknown": None},
]


def test_a_whole_item_is_read_alike() -> None:
    read = parse(ItemRequest, json.dumps(FULL).encode())
    put_together = validated(ItemRequest, FULL)
    assert read.faults == put_together.faults == []
    assert read.model == put_together.model
    assert set(FULL) >= set(ItemRequest.model_fields) - {"retention_seconds"}


@pytest.mark.parametrize("change", WRONG, ids=str)
def test_what_is_wrong_is_told_alike(change: dict[str, Any]) -> None:
    tree = FULL | change
    read, put_together = parse(ItemRequest, json.dumps(tree).encode()), validated(ItemRequest, tree)
    told = [[(fault.pointer, fault.detail) for fault in parsed.faults] for parsed in (read, put_together)]
    assert told[0] == told[1] != []
