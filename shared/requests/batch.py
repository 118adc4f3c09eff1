"""The items of a batch: put together with its defaults, checked, and made lines that jobs are loaded from.

A line holds the record of its job as `shared.jobs.new_job` writes it, but for its name and its place: whoever
loads it neither checks nor resolves anything any more.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from shared.errors import Fault, InvalidRequest, MalformedRequest
from shared.jobs.new_job import NewJob, new_record
from shared.jobs.policy import milliseconds
from shared.jobs.record import Stage
from shared.requests.batch_models import BatchDefaults, BatchHead, BatchRequest
from shared.requests.bodies import MOST_FAULTS, Parsed, read_tree, validated
from shared.requests.check import Checker, Means, job_of
from shared.requests.models import ItemRequest
from shared.requests.webhooks import check_webhook
from shared.spec import Spec

#: Fields that are merged key by key with the defaults'.
_MERGED = ("spec", "metadata")
#: Items whose uploads are looked up together.
_PORTION = 500


@dataclass(frozen=True)
class Place:
    """Where something stands in a request.

    Attributes:
        pointer: to it, from the root of what is read as one: the body, or a line of it.
        line: its line, from 1, where the body is read line by line.
    """

    pointer: str = ""
    line: int | None = None

    def of(self, fault: Fault) -> Fault:
        """The fault, found at this place."""
        fault.pointer = self.pointer + (fault.pointer or "")
        fault.line = self.line
        return fault


def read_line(data: bytes, line: int, faults: list[Fault]) -> Any:  # noqa: ANN401 - any JSON
    """The JSON of one line; None, and a fault, where it is none."""
    try:
        return read_tree(data)
    except MalformedRequest as fault:
        detail = fault.detail.replace("The body", "The line", 1).replace("at line 1, column", "at column", 1)
        faults.append(Place(line=line).of(InvalidRequest(detail)))
        return None


def is_head(tree: Any) -> bool:  # noqa: ANN401 - any JSON
    """Whether a first line is not an item but says what all items have in common."""
    return isinstance(tree, dict) and not {"content", "custom_id"} & tree.keys()


class Names:
    """Which custom IDs are taken: by their hashes, so that a million of them are some dozens of MB."""

    def __init__(self) -> None:
        self._taken: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._taken)

    def take(self, name: str, place: Place) -> str | None:
        """Give a name to the item at a place; returns where an earlier one has it."""
        number = place.line if place.line is not None else int(place.pointer.rpartition("/")[2])
        key = int.from_bytes(blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest())
        earlier = self._taken.setdefault(key, number)
        if earlier == number:
            return None
        return f"line {earlier}" if place.line is not None else f"/items/{earlier}"


class BatchCheck:
    """Checks the items of one batch, in portions; what they share is looked at once.

    Args:
        owner: whose they are.
        means: what they are checked with.
        head: what the request says beside its items, as plain data.
        place: where it says that.
        names: those that items before these have, for items that are checked part by part.

    Attributes:
        head: the same, validated; None when anything is wrong with it.
        faults: what is wrong, in the order in which it was found.
        sound: items without a fault so far.
    """

    def __init__(
        self,
        owner: str,
        means: Means,
        head: Mapping[str, Any],
        place: Place | None = None,
        names: "Names | None" = None,
    ) -> None:
        self._owner, self._means = owner, means
        self._checker = Checker(owner, means)
        self._place = place or Place()
        self._names = Names() if names is None else names
        self._told: set[tuple[str, str]] = set()
        self._unsound: set[str] = set()
        self._items: list[tuple[ItemRequest, Spec]] = []
        self.faults: list[Fault] = []
        self.head = self._head(head)

    @property
    def sound(self) -> int:
        """Items without a fault so far."""
        return len(self._items)

    def add(self, items: Sequence[tuple[Place, Any]]) -> None:
        """Check these items, each with its place; none where it is not known what they leave out.

        Behind `MOST_FAULTS` no more are looked at.

        Raises:
            StoreUnavailable: Redis does not answer.
        """
        for start in range(0, len(items) if self._readable else 0, _PORTION):
            portion = items[start : start + _PORTION]
            trees = [self._merged(tree) for _, tree in portion]
            self._checker.foresee(trees)
            for (place, own), tree in zip(portion, trees, strict=True):
                if len(self.faults) >= MOST_FAULTS:
                    return
                self._check(place, own, validated(ItemRequest, tree))

    def lines(self) -> Iterator[bytes]:
        """The line of each item; pictures that came inside the request are stored.

        Raises:
            StoreUnavailable: Redis does not answer.
            StorageUnavailable: the object store does not answer.
        """
        for body, spec in self._items:
            yield line_of(
                job_of(
                    body,
                    spec,
                    self._checker.inputs(body),
                    self._means.settings,
                    owner=self._owner,
                    uid="",
                    id="",
                    body_hash="",
                    custom_id=body.custom_id,
                )
            )

    @property
    def stored(self) -> list[str]:
        """SHA-256 of every input that the items name and that is stored already."""
        return self._checker.stored

    def _head(self, head: Mapping[str, Any]) -> BatchHead | None:
        """Validate the head. Its defaults are an item's, so they are checked as one."""
        given = head.get("defaults")
        self._readable = given is None or isinstance(given, dict)
        self._defaults: dict[str, Any] = _given(given) if isinstance(given, dict) else {}
        defaults = validated(BatchDefaults, given) if given is not None else Parsed(None, None)
        rest = {name: value for name, value in head.items() if name != "defaults"}
        parsed = validated(BatchHead, rest, BatchRequest)
        check_webhook(parsed, self._means.settings)
        for fault in defaults.faults:
            self._told.add((fault.pointer or "", fault.detail))
            self._unsound.add((fault.pointer or "").removeprefix("/").partition("/")[0])
            fault.pointer = f"/defaults{fault.pointer}"
        self.faults += map(self._place.of, [*defaults.faults, *parsed.faults])
        return None if self.faults else parsed.model

    def _merged(self, item: Any) -> Any:  # noqa: ANN401 - any JSON
        """An item with the defaults in it; what is no object is left as it is."""
        if not isinstance(item, dict):
            return item
        own = _given(item)
        both = {**self._defaults, **own}
        for name in _MERGED:
            shared, given = self._defaults.get(name), own.get(name)
            if isinstance(shared, dict) and isinstance(given, dict):
                both[name] = {**shared, **given}
        return both

    def _check(self, place: Place, own: Any, parsed: Parsed[ItemRequest]) -> None:  # noqa: ANN401
        name = parsed.tree.get("custom_id") if isinstance(parsed.tree, dict) else None
        if not parsed.sound("/custom_id"):
            name = None
        if isinstance(name, str) and (earlier := self._names.take(name, place)):
            detail = f"This is the custom_id of {earlier} too; each item needs its own."
            parsed.faults.append(InvalidRequest(detail, pointer="/custom_id"))
        spec = self._checker.check(parsed)
        if parsed.faults:
            for fault in parsed.faults:
                self._tell(place, own, fault)
        elif parsed.model is not None and spec is not None:
            self._items.append((parsed.model, spec))

    def _tell(self, place: Place, own: Any, fault: Fault) -> None:  # noqa: ANN401
        """A fault of an item, or of the defaults: that one is told once, where it was met first."""
        pointer = fault.pointer or ""
        if not self._of_defaults(own, pointer):
            self.faults.append(place.of(fault))
        elif (pointer, fault.detail) not in self._told and pointer.split("/")[1] not in self._unsound:
            self._told.add((pointer, fault.detail))
            fault.pointer = f"/defaults{pointer}"
            self.faults.append(self._place.of(fault))

    def _of_defaults(self, own: Any, pointer: str) -> bool:  # noqa: ANN401
        """Whether what is at a pointer into an item comes from the defaults."""
        field, _, rest = pointer.removeprefix("/").partition("/")
        if not isinstance(own, dict) or field not in self._defaults:
            return False
        given, shared = own.get(field), self._defaults[field]
        if field in _MERGED and isinstance(given, dict) and isinstance(shared, dict):
            key = rest.partition("/")[0].replace("~1", "/").replace("~0", "~")
            return key in shared and key not in given
        return given is None


def line_of(job: NewJob) -> bytes:
    """What a job is made from later: its record without its name and place, its stage, its deadline in ms."""
    record = new_record(job)
    for name in ("uid", "id", "owner", "body_hash"):
        del record[name]
    line = {
        "record": record,
        "stage": Stage.WAITING if job.skip_intake else Stage.FETCHING,
        "deadline": milliseconds(job.deadline_seconds),
    }
    return json.dumps(line, separators=(",", ":")).encode()


def inputs_of_line(line: bytes) -> Iterator[str]:
    """SHA-256 of the inputs that a line from `line_of` names."""
    record = json.loads(line)["record"]
    pictures = [record["content"], *([record["init"]] if "init" in record else [])]
    plain = [*map(json.loads, pictures), *json.loads(record["styles"])]
    for picture in plain:
        for part in (picture, picture.get("mask"), picture.get("region")):
            if part and "sha256" in part:
                yield part["sha256"]


def _given(item: dict[str, Any]) -> dict[str, Any]:
    """What is said of an item: null says nothing."""
    return {name: value for name, value in item.items() if value is not None}
