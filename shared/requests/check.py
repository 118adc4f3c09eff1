"""What a request alone cannot say: whether what it names is there, and what its spec comes to.

A backbone is chosen, uploads are looked up, data URIs are cleaned and kept. All faults of a request are found
before any is told, and nothing is stored for a request that has one.
"""

import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from typing import Any, Protocol

from shared.backbones import BACKBONES, Backbone
from shared.errors import (
    BackboneUnavailable,
    Fault,
    InvalidRequest,
    PictureTooLarge,
    PictureUnreadable,
    UploadNotFound,
)
from shared.jobs.new_job import NewJob
from shared.jobs.pictures import Inputs, Picture
from shared.jobs.store import JobStore
from shared.jobs.workers import LivePainters
from shared.objects import ObjectStore
from shared.pictures import CleanPicture, PictureLimits, clean, keep, parse_data_uri
from shared.requests.bodies import Parsed, escape
from shared.requests.choosing import AUTO, BACKBONE_POINTER, choose
from shared.requests.models import DATA_SCHEME, UPLOAD_SCHEME, JobRequest
from shared.requests.webhooks import check_webhook, webhook_of
from shared.settings import Settings
from shared.spec import Spec, resolve, unresolvable

#: Uploads that are looked up in one command.
_LOOKUPS = 500


class Means(Protocol):
    """What requests are checked with."""

    @property
    def settings(self) -> Settings:
        """Limits."""

    @property
    def store(self) -> JobStore:
        """Uploads."""

    @property
    def objects(self) -> ObjectStore:
        """Where pictures that came inside a request are kept."""

    @property
    def painters(self) -> LivePainters:
        """Who offers which backbone."""


class Checker:
    """Checks what one owner asks for; what several of the requests have in common is looked at once."""

    def __init__(self, owner: str, means: Means) -> None:
        self._owner, self._means = owner, means
        self._looked_at: dict[str, Picture | CleanPicture | Fault] = {}
        self._kept: dict[str, Picture] = {}
        self._specs: dict[str, tuple[Spec | None, list[Fault]]] = {}

    def check(self, parsed: Parsed[Any]) -> Spec | None:
        """Check the rest of a request that was read; what is wrong is added to its faults.

        Args:
            parsed: a `JobRequest`, or what is more than one.

        Returns:
            The resolved spec; never None where there is no fault.

        Raises:
            StoreUnavailable: Redis does not answer. The faults that were found before that are there.
        """
        spec = self._spec(parsed)
        self._check_init(parsed, spec)
        check_webhook(parsed, self._means.settings)
        self._look_up(parsed)
        return spec

    def foresee(self, trees: Iterable[Any]) -> None:
        """Look up the uploads that these bodies name, many at a time.

        Raises:
            StoreUnavailable: Redis does not answer.
        """
        wanted = {
            source: source.removeprefix(UPLOAD_SCHEME)
            for tree in trees
            for _, source in _sources(tree)
            if isinstance(source, str) and source.startswith(UPLOAD_SCHEME) and source not in self._looked_at
        }
        names = list(wanted.items())
        for start in range(0, len(names), _LOOKUPS):
            portion = names[start : start + _LOOKUPS]
            found = self._means.store.uploads(self._owner, [upload for _, upload in portion])
            for (source, _), picture in zip(portion, found, strict=True):
                self._looked_at[source] = replace(picture, source=source) if picture else _no_upload()

    def inputs(self, body: JobRequest) -> Inputs:
        """The pictures of a request that was checked and has no fault; those that came inside it are stored.

        Raises:
            StoreUnavailable: Redis does not answer.
            StorageUnavailable: the object store does not answer.
        """
        styles = (
            replace(
                self._keep(style.image),
                weight=style.weight,
                mask=self._keep(style.mask) if style.mask else None,
                region=self._keep(style.region) if style.region else None,
            )
            for style in body.weighted_styles
        )
        return Inputs(self._keep(body.content), tuple(styles), self._keep(body.init) if body.init else None)

    @property
    def stored(self) -> list[str]:
        """SHA-256 of the inputs that were named and are stored."""
        kept = (picture.sha256 for picture in self._kept.values())
        return list(dict.fromkeys(sha256 for sha256 in kept if sha256))

    def _keep(self, source: str) -> Picture:
        if source not in self._kept:
            found = self._looked_at[source]
            if isinstance(found, CleanPicture):
                found = keep(found, self._means.store, self._means.objects)
            if isinstance(found, Fault):
                raise AssertionError("a request without faults names no picture that has one")
            self._kept[source] = found
        return self._kept[source]

    def _spec(self, parsed: Parsed[Any]) -> Spec | None:
        """Resolve what is sound of the spec."""
        given = parsed.tree.get("spec", {}) if isinstance(parsed.tree, dict) else {}
        if not isinstance(given, dict) or not parsed.sound(BACKBONE_POINTER):
            return None
        if parsed.faults:
            given = {name: value for name, value in given.items() if parsed.sound(f"/spec/{escape(name)}")}
        wording = json.dumps(given, sort_keys=True)
        if wording not in self._specs:
            self._specs[wording] = self._resolved(given)
        spec, faults = self._specs[wording]
        new = [fault for fault in faults if parsed.sound(fault.pointer or "")]
        parsed.faults += [type(fault)(fault.detail, pointer=fault.pointer) for fault in new]
        return None if parsed.faults else spec

    def _resolved(self, given: dict[str, Any]) -> tuple[Spec | None, list[Fault]]:
        """What a spec comes to, or what is wrong with it."""
        faults: list[Fault] = []
        backbone = self._backbone(given.get("backbone") or AUTO, faults)
        if backbone is None:
            return None, faults
        faults += [
            InvalidRequest(f"{error}.", pointer=f"/spec/{error.field}")
            for error in unresolvable(given, backbone)
        ]
        return (None if faults else resolve(given, backbone)), faults

    def _backbone(self, name: str, faults: list[Fault]) -> Backbone | None:
        """The backbone that the spec is held against: one that is not available too, to find every fault."""
        try:
            return choose(name, self._means.painters)
        except (InvalidRequest, BackboneUnavailable) as fault:
            faults.append(fault)
            return BACKBONES.get(name)

    def _check_init(self, parsed: Parsed[Any], spec: Spec | None) -> None:
        """A picture to start from goes with a spec that starts from one."""
        tree = parsed.tree if isinstance(parsed.tree, dict) else {}
        given = tree.get("spec", {})
        if not (isinstance(given, dict) and parsed.sound("/spec/init") and parsed.sound("/init")):
            return
        wanted = spec.init if spec else given.get("init") or Spec().init
        if wanted == "picture" and tree.get("init") is None:
            remedy = "Name the picture to start from here, or set `spec.init` to content, style or noise."
            parsed.faults.append(InvalidRequest(remedy, pointer="/init"))
        elif wanted != "picture" and tree.get("init") is not None:
            remedy = (
                f"`spec.init` is {wanted}, so this picture would go unused: set it to picture, or leave this "
                "out."
            )
            parsed.faults.append(InvalidRequest(remedy, pointer="/init"))

    def _look_up(self, parsed: Parsed[Any]) -> None:
        """Look at every picture of the request that was not looked at before."""
        styles = parsed.tree.get("styles") if isinstance(parsed.tree, dict) else None
        limit = self._means.settings.max_styles
        if isinstance(styles, list) and len(styles) > limit and parsed.sound("/styles"):
            parsed.faults.append(InvalidRequest(f"A job may name {limit} styles here.", pointer="/styles"))
        for pointer, source in _sources(parsed.tree):
            if parsed.faults and not parsed.sound(pointer):
                continue
            if source not in self._looked_at:
                self._looked_at[source] = self._look_at(source, self._looked_at)
            found = self._looked_at[source]
            if isinstance(found, Fault):
                parsed.faults.append(type(found)(found.detail, pointer=pointer))

    def _look_at(self, source: str, others: Collection[str]) -> Picture | CleanPicture | Fault:
        """One picture, or what is wrong with it. `others` were looked at before."""
        if not source.startswith((DATA_SCHEME, UPLOAD_SCHEME)):
            return Picture(source)
        # A picture inside the request is decoded while its sender waits: as many as in one call for uploads.
        limit = self._means.settings.max_styles + 1
        if source.startswith(DATA_SCHEME) and sum(one.startswith(DATA_SCHEME) for one in others) >= limit:
            return InvalidRequest(
                f"A request may hold {limit} pictures as data URIs here; bring this one in by POST "
                "/v1/uploads."
            )
        try:
            return self._picture(source)
        except (UploadNotFound, PictureUnreadable, PictureTooLarge) as fault:
            return fault

    def _picture(self, source: str) -> Picture | CleanPicture:
        if source.startswith(UPLOAD_SCHEME):
            picture = self._means.store.upload(self._owner, source.removeprefix(UPLOAD_SCHEME))
            if picture is None:
                raise _no_upload()
            return replace(picture, source=source)
        settings = self._means.settings
        return clean(parse_data_uri(source, settings.data_uri_bytes), PictureLimits.of(settings))


def job_of(
    body: JobRequest,
    spec: Spec,
    inputs: Inputs,
    settings: Settings,
    *,
    owner: str,
    uid: str,
    id: str,  # noqa: A002 - the caller's word
    body_hash: str,
    idempotency_key: str | None = None,
    custom_id: str | None = None,
) -> NewJob:
    """The job that a request without faults asks for.

    Args:
        body: the request.
        spec: what its spec came to.
        inputs: its pictures.
        settings: for what it leaves open.
        owner: whose it is.
        uid: as in `NewJob`, like those that follow.
        id: likewise.
        body_hash: likewise.
        idempotency_key: likewise.
        custom_id: likewise.
    """
    return NewJob(
        uid=uid,
        id=id,
        owner=owner,
        spec=spec,
        content=inputs.content,
        styles=inputs.styles,
        init=inputs.init,
        metadata=body.metadata,
        body_hash=body_hash,
        skip_intake=inputs.stored,
        deadline_seconds=body.deadline_seconds or settings.deadline_seconds,
        priority=body.priority,
        idempotency_key=idempotency_key,
        custom_id=custom_id,
        webhook=webhook_of(body.webhook),
        retention_seconds=body.retention_seconds,
        fresh=body.fresh,
    )


def _no_upload() -> UploadNotFound:
    return UploadNotFound("There is no such upload, or it has expired; POST /v1/uploads gives an ID.")


def _sources(tree: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - any JSON
    """Each image that the body names, with its JSON pointer. What is unsound is left to the caller."""
    if not isinstance(tree, dict):
        return
    yield "/content", tree.get("content")
    styles = tree.get("styles")
    for index, style in enumerate(styles if isinstance(styles, list) else ()):
        if isinstance(style, dict):
            yield f"/styles/{index}/image", style.get("image")
            for part in ("mask", "region"):
                if style.get(part) is not None:
                    yield f"/styles/{index}/{part}", style[part]
        else:
            yield f"/styles/{index}", style
    if tree.get("init") is not None:
        yield "/init", tree["init"]
