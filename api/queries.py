"""What requests say beside their bodies: parameters of the query, and the Idempotency-Key."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from flask import request

from shared.errors import Fault, InvalidRequest
from shared.jobs.record import Status

IDEMPOTENCY_HEADER = "Idempotency-Key"
#: In the answer to a request that repeats an earlier one.
REPLAYED_HEADER = "Idempotent-Replayed"
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_LIMIT, _MAX_LIMIT = 100, 1000


def idempotency_key(faults: list[Fault]) -> str | None:
    """The request's key; None where it has none, or one that is none."""
    key = request.headers.get(IDEMPOTENCY_HEADER)
    if key is None or _KEY.fullmatch(key):
        return key
    detail = "An idempotency key is 1 to 255 visible ASCII characters, such as a UUID."
    faults.append(InvalidRequest(detail, pointer=f"/headers/{IDEMPOTENCY_HEADER}"))
    return None


def only(names: tuple[str, ...]) -> list[Fault]:
    """A fault for each parameter that is not among these, or is given more than once."""
    faults: list[Fault] = []
    for name, given in request.args.lists():
        if name not in names:
            detail = f"There is no parameter {name}; there are {', '.join(names)}."
        elif len(given) > 1:
            detail = f"The parameter {name} is given {len(given)} times; give it once."
        else:
            continue
        faults.append(InvalidRequest(detail, pointer=f"/query/{name}"))
    return faults


def status(faults: list[Fault]) -> Status | None:
    """The status that is asked for, if one is."""
    given = request.args.get("status")
    if given is None:
        return None
    if given in list(Status):
        return Status(given)
    faults.append(InvalidRequest(f"A status is one of {', '.join(Status)}.", pointer="/query/status"))
    return None


def limit(faults: list[Fault]) -> int:
    """The page's size; more than is given at a time is cut down, as AIP-158 has it."""
    given = request.args.get("limit", str(_LIMIT))
    if given.isascii() and given.isdigit() and (digits := given.lstrip("0")):
        return min(int(digits[:9]), _MAX_LIMIT)  # nine digits are too many already, whatever follows
    detail = f"A limit is a whole number from 1; more than {_MAX_LIMIT} gives {_MAX_LIMIT}."
    faults.append(InvalidRequest(detail, pointer="/query/limit"))
    return _LIMIT


@contextmanager
def pointed(name: str) -> Iterator[None]:
    """An `InvalidRequest` raised within is about this parameter."""
    try:
        yield
    except InvalidRequest as fault:
        fault.pointer = f"/query/{name}"
        raise
