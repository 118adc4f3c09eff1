"""Whether the process lives (`/healthz`) and whether it can accept jobs (`/readyz`)."""

from flask import Blueprint, Response

from api.problems import raise_all
from api.replies import reply
from api.services import services
from api.version import VERSION
from api.views import Health, Readiness
from shared.errors import Fault, StorageUnavailable, StoreUnavailable
from shared.redis import translated

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
def healthz() -> Response:
    """The process answers. Says nothing about what it depends on, so that nobody restarts it for that."""
    return reply(Health(version=VERSION))


@blueprint.get("/readyz")
def readyz() -> Response:
    """Job store and object store answer."""
    found, faults, painters = services(), list[Fault](), 0
    try:
        with translated():
            found.redis.ping()
            painters = len(found.painters.list(fresh=True))
    except StoreUnavailable as fault:
        faults.append(fault)
    try:
        found.objects.check()
    except StorageUnavailable as fault:
        faults.append(fault)
    raise_all(faults[:1])
    return reply(Readiness(painters=painters))
