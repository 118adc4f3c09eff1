"""Bodies with a batch in them: JSON whole, NDJSON line by line as it comes in."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from flask import g, request
from werkzeug.exceptions import RequestEntityTooLarge

from api.incoming import whole
from api.services import Services
from shared.errors import Fault, InvalidRequest, UnsupportedMediaType
from shared.requests.batch import BatchCheck, Place, is_head, read_line
from shared.requests.batch_models import MAX_ITEMS
from shared.requests.bodies import read_tree

NDJSON = "application/x-ndjson"
#: Bytes that a line may have: as many as the request of a single job.
LINE_BYTES = 2**20
_BLOCK = 2**16
#: Items that are checked together.
_PORTION = 500


@dataclass
class Incoming:
    """A batch as it came in.

    Attributes:
        check: of its items.
        sha256: of the body, in hexadecimal.
        faults: what is wrong with it as a whole.
    """

    check: BatchCheck
    sha256: str
    faults: list[Fault] = field(default_factory=list)

    @property
    def every_fault(self) -> list[Fault]:
        """Everything that is wrong with it."""
        return [*self.faults, *self.check.faults]


def read_batch(found: Services) -> Incoming:
    """Read the request's body and check its items.

    Raises:
        UnsupportedMediaType: it says neither that it is JSON nor that it is NDJSON.
        MalformedRequest: it is not JSON; says where.
        RequestEntityTooLarge: by Werkzeug, when it has too many bytes.
        StoreUnavailable: Redis does not answer.
    """
    if request.mimetype == NDJSON:
        return _ndjson(found)
    if request.is_json:
        return _json(found)
    raise UnsupportedMediaType(
        f"Send JSON or, line by line, NDJSON, with the header `Content-Type: application/json` or `{NDJSON}`."
    )


def _json(found: Services) -> Incoming:
    data = whole(found.settings.batch_bytes)
    tree = read_tree(data)
    head = {name: value for name, value in tree.items() if name != "items"} if isinstance(tree, dict) else {}
    incoming = Incoming(BatchCheck(g.owner, found, head), hashlib.sha256(data).hexdigest())
    items = tree.get("items") if isinstance(tree, dict) else None
    if not isinstance(tree, dict):
        incoming.faults.append(InvalidRequest("This is an object, in braces.", pointer=""))
    elif not isinstance(items, list) or not items:
        incoming.faults.append(InvalidRequest("A list of at least one item is needed.", pointer="/items"))
    elif len(items) > MAX_ITEMS:
        incoming.faults.append(InvalidRequest(_too_many(len(items)), pointer="/items"))
    else:
        incoming.check.add([(Place(f"/items/{index}"), item) for index, item in enumerate(items)])
    return incoming


def _ndjson(found: Services) -> Incoming:
    digest = hashlib.sha256()
    faults: list[Fault] = []
    check: BatchCheck | None = None
    portion: list[tuple[Place, Any]] = []
    count = 0
    for number, line in lines(found.settings.batch_bytes, digest):
        if len(line) > LINE_BYTES:
            faults.append(_too_long(number))
            continue
        tree = read_line(line, number, faults)
        if check is None:
            head = is_head(tree)
            check = BatchCheck(g.owner, found, tree if head else {}, Place(line=number))
            if head:
                continue
        if tree is None and faults and faults[-1].line == number:
            continue
        count += 1
        if count <= MAX_ITEMS:
            portion.append((Place(line=number), tree))
        if len(portion) == _PORTION:
            check.add(portion)
            portion = []
    check = check or BatchCheck(g.owner, found, {})
    check.add(portion)
    if count > MAX_ITEMS:
        faults.append(InvalidRequest(_too_many(count), pointer=""))
    if not count and not faults:
        faults.append(InvalidRequest("At least one line with an item is needed.", pointer=""))
    return Incoming(check, digest.hexdigest(), faults)


def lines(limit: int, digest: "hashlib._Hash") -> Iterator[tuple[int, bytes]]:
    """The body's lines that are not blank, each with its number; one that is too long is cut.

    Args:
        limit: bytes that the body may have.
        digest: is told of all bytes.

    Raises:
        RequestEntityTooLarge: by Werkzeug, when it has more.
    """
    request.max_content_length = limit
    rest, number, total = b"", 0, 0
    while block := request.stream.read(_BLOCK):
        total += len(block)
        if total > limit:
            raise RequestEntityTooLarge
        digest.update(block)
        *ended, rest = (rest + block).split(b"\n")
        for line in ended:
            number += 1
            if line.strip():
                yield number, line
        # What is kept of a line that is too long still is.
        rest = rest[: LINE_BYTES + 1]
    if rest.strip():
        yield number + 1, rest


def _too_long(line: int) -> Fault:
    remedy = "bring its pictures in by POST /v1/uploads"
    return Place(line=line).of(InvalidRequest(f"A line may have {LINE_BYTES} bytes; {remedy}."))


def _too_many(count: int) -> str:
    return (
        f"These are {count} items; one request may have {MAX_ITEMS}, or more as NDJSON with `Prefer: "
        "respond-async`, which are checked later."
    )
