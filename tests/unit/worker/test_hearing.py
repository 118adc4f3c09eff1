"""What is a bell, and what is not."""

import base64
import json
from typing import Any

import pytest

from shared.bells import message
from shared.jobs.record import Queue
from worker.hearing import is_bell

BELL = json.loads(message(Queue.PAINT))


def but(**changes: object) -> dict[str, Any]:
    """A bell with other fields; those that are None are left out."""
    return {name: value for name, value in {**BELL, **changes}.items() if value is not None}


def coded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


NO_BELLS = {
    "a text": "garbage",
    "a number": 7,
    "nothing": None,
    "a list": [],
    "an empty object": {},
    "another stage's": json.loads(message(Queue.INTAKE)),
    "another's task": but(headers={**BELL["headers"], "task": "shop.tasks.bill"}),
    "no task": but(headers={}),
    "no headers": but(headers=None),
    "no id": but(headers={"task": "impasto.paint"}),
    "another id": but(headers={**BELL["headers"], "id": 7}),
    "a time": but(headers={**BELL["headers"], "eta": "soon"}),
    "compressed": but(headers={**BELL["headers"], "compression": "zlib"}),
    "a pickle": but(**{"content-type": "application/x-python-serialize"}),
    "another encoding": but(**{"content-encoding": "zip"}),
    "no body": but(body=None),
    "a body that is not coded": but(body="!!!"),
    "a body that is no JSON": but(body=coded("[[1")),
    "a body that is no call": but(body=coded("7")),
    "a body that is deep": but(body=coded("[" * 100_000)),
    "arguments": but(body=coded('[["job"], {}, {}]')),
    "named arguments": but(body=coded('[[], {"job": 1}, {}]')),
    "no properties": but(properties=None),
    "properties that are a list": but(properties=[]),
    "no tag": but(properties={**BELL["properties"], "delivery_tag": None}),
    "no address": but(properties={**BELL["properties"], "delivery_info": None}),
    "a body coded otherwise": but(properties={**BELL["properties"], "body_encoding": "rot13"}),
}


@pytest.mark.parametrize("queue", list(Queue))
def test_a_bell_is_one_on_its_own_list_alone(queue: Queue) -> None:
    heard = [other for other in Queue if is_bell(json.loads(message(queue)), other)]
    assert heard == [queue]
    assert not is_bell(json.loads(message(queue)), "celery")


def test_a_bell_may_carry_more_than_we_know_of() -> None:
    assert is_bell(but(headers={**BELL["headers"], "traceparent": "00-ab-cd-01"}), "paint")


@pytest.mark.parametrize("name", NO_BELLS)
def test_nothing_else_is_a_bell(name: str) -> None:
    assert not is_bell(NO_BELLS[name], "paint")
