"""Bodies with a batch in them: JSON whole, NDJSON line by line as it comes in."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from flask import g, request
from werkzeug.exceptions import RequestEntityTooLarge

from api.incoming import allowed, take, whole
from api.problems import raise_all
from api.services import Services
from shared.errors import Fault, InvalidRequest, UnsupportedMediaType
from shared.jobs.batch_files import BatchFile, Kind, Writer, numbered
from shared.requests.batch import BatchCheck, Place, is_head, read_line
from shared.requests.batch_models import MAX_DEFERRED, MAX_ITEMS, BatchHead
from shared.requests.bodies import MOST_FAULTS, read_tree

NDJSON = "application/x-ndjson"
#: Bytes that a line may have: as many as the request of a single job.
LINE_BYTES = 2**20
#: Bytes that a line may have that is stored unchecked.
DEFERRED_LINE_BYTES = 2**16
_EMPTY = "At least one line with an item is needed."
_BLOCK = 2**16
#: Items that are checked together.
_PORTION = 500


@dataclass(frozen=True)
class Deferred:
    """A batch that is stored as it came, to be checked later.

    Attributes:
        head: what it says beside its items.
        sha256: of the body, in hexadecimal.
        count: its items.
    """

    head: BatchHead
    sha256: str
    count: int


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


def store_batch(uid: str, found: Services) -> Deferred:
    """Store the lines of the request's body as they come in, unchecked, as those of a batch.

    Raises:
        UnsupportedMediaType: it does not say that it is NDJSON.
        Faults: what is wrong with it as a whole, or with its first line.
        RequestEntityTooLarge: by Werkzeug, when it has too many bytes.
        StorageUnavailable: the object store does not answer.
    """
    if request.mimetype != NDJSON:
        raise UnsupportedMediaType(f"What is checked later comes line by line, as `{NDJSON}`.")
    digest = hashlib.sha256()
    faults: list[Fault] = []
    check: BatchCheck | None = None
    writer = Writer(BatchFile(found.objects, uid, Kind.LINES))
    for number, line in lines(allowed(found.settings, "batch_upload_bytes"), digest, DEFERRED_LINE_BYTES):
        if len(line) > DEFERRED_LINE_BYTES:
            faults.append(_too_long(number, DEFERRED_LINE_BYTES))
        elif check is None:
            tree = read_line(line, number, [])
            check = BatchCheck(g.owner, found, tree if is_head(tree) else {}, Place(line=number))
            shared = is_head(tree)
            # Stored also where nothing is said, so that one that is lost is not taken for that.
            BatchFile(found.objects, uid, Kind.HEAD).write(0, [numbered(number, line)] if shared else [])
            if not shared:
                writer.add(numbered(number, line))
        elif writer.count <= MAX_DEFERRED:
            writer.add(numbered(number, line))
    writer.close()
    faults += check.faults if check else []
    if writer.count > MAX_DEFERRED:
        faults.append(InvalidRequest(f"A batch may have {MAX_DEFERRED} items.", pointer=""))
    if not writer.count and not faults:
        faults.append(InvalidRequest(_EMPTY, pointer=""))
    raise_all(faults)
    if check is None or check.head is None:
        raise AssertionError("a request without faults has a head")
    return Deferred(check.head, digest.hexdigest(), writer.count)


def _json(found: Services) -> Incoming:
    data = whole(allowed(found.settings, "batch_bytes"))
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
    for number, line in lines(allowed(found.settings, "batch_bytes"), digest):
        if len(line) > LINE_BYTES:
            faults.append(_too_long(number, LINE_BYTES))
            continue
        if len(faults) >= MOST_FAULTS:
            continue  # the rest is of no interest, but for the digest
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
    _check_count(count, faults)
    return Incoming(check, digest.hexdigest(), faults)


def lines(limit: int, digest: "hashlib._Hash", longest: int = LINE_BYTES) -> Iterator[tuple[int, bytes]]:
    """The body's lines that are not blank, each with its number; one that is too long is cut.

    Args:
        limit: bytes that the body may have.
        digest: is told of all bytes.
        longest: bytes of a line that are kept, and one more.

    Raises:
        RequestEntityTooLarge: by Werkzeug, when it has more.
        ClientDisconnected: by Werkzeug, when it ends before it is as long as it said.
    """
    take(limit)
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
        rest = rest[: longest + 1]
    if rest.strip():
        yield number + 1, rest


def _check_count(count: int, faults: list[Fault]) -> None:
    if count > MAX_ITEMS:
        faults.append(InvalidRequest(_too_many(count), pointer=""))
    if not count and not faults:
        faults.append(InvalidRequest(_EMPTY, pointer=""))


def _too_long(line: int, limit: int) -> Fault:
    remedy = "bring its pictures in by POST /v1/uploads"
    return Place(line=line).of(InvalidRequest(f"A line may have {limit} bytes here; {remedy}."))


def _too_many(count: int) -> str:
    return (
        f"These are {count} items; one request may have {MAX_ITEMS}, or more as NDJSON with `Prefer: "
        "respond-async`, which are checked later."
    )
