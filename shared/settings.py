"""Every setting of the service in one class, read from `IMPASTO_*` environment variables.

The table in `docs/configuration.md` is generated from this class. An unknown variable with our prefix is
an error, so that a typing mistake cannot pass for a default.
"""

import os
import re
from collections.abc import Mapping
from functools import cache
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import parse_qsl, urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from redis import ConnectionPool

PREFIX = "IMPASTO_"
#: Variables with our prefix that belong to the client and to the test suite, not to the service.
CLIENTS = ("IMPASTO_URL", "IMPASTO_TOKEN")
TESTS_PREFIX = "IMPASTO_TEST_"

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


#: What the URL of Redis may say after `?`, beside `ssl_...`; of no effect where `shared.redis` decides.
REDIS_OPTIONS = frozenset(
    {
        "client_name",
        "db",
        "decode_responses",
        "health_check_interval",
        "max_connections",
        "password",
        "protocol",
        "socket_connect_timeout",
        "socket_keepalive",
        "socket_timeout",
        "username",
    }
)


class UnknownSettingError(ValueError):
    """An environment variable carries our prefix but names no setting."""


class Settings(BaseSettings):
    """The service's settings. Each is the environment variable `IMPASTO_` + its name in capitals."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        frozen=True,
        use_attribute_docstrings=True,
        hide_input_in_errors=True,  # keys, tokens and passwords are among it
    )

    data_dir: Path = Path("var")
    """Folder for everything kept on this machine: embedded Valkey, local objects, fetched weights."""

    redis_url: str = "redis://127.0.0.1:6379/0"
    """Redis (7.0 or later) or Valkey (7.2 or later) that holds the jobs and carries the bells."""

    redis_timeout: Seconds = 2.0
    """Seconds to wait for Redis to connect or to answer before it counts as away."""

    storage: Literal["local", "s3"] = "local"
    """Where pictures are kept: a folder below `data_dir`, or an S3-compatible server."""

    s3_endpoint: str | None = None
    """Address of the S3 server as workers and API reach it; none for Amazon's own."""

    s3_public_endpoint: str | None = None
    """Address of the S3 server as callers reach it, for presigned URLs; `s3_endpoint` when not given."""

    s3_bucket: str = "impasto"
    """Bucket for all objects; made at start where it is missing."""

    s3_region: str = "us-east-1"
    """Region that requests are signed for."""

    s3_access_key: SecretStr | None = None
    """Access key; the usual AWS sources are asked when not given."""

    s3_secret_key: SecretStr | None = None
    """Secret key that belongs to `s3_access_key`."""

    presign_seconds: int = Field(default=3600, ge=60, le=604_800)
    """Seconds for which a presigned URL to a result is valid."""

    api_host: str = "127.0.0.1"
    """Address the API listens on. Without `api_tokens` it must be a loopback address."""

    api_port: int = Field(default=8000, ge=0, le=65_535)
    """Port the API listens on; 0 takes a free one."""

    api_threads: int = Field(default=16, ge=1, le=512)
    """Requests that one API process serves at a time."""

    api_redis_seconds: Seconds = 1.2
    """Seconds that one request may wait for Redis in all before it is answered 503."""

    api_stall_seconds: int = Field(default=30, ge=1, le=3600)
    """Seconds that a caller may stand still in mid-request before it is cut off, and four times as long in
    mid-answer: as long as it does, it holds a thread."""

    api_waiters: int = Field(default=10_000, ge=0)
    """Callers that one API process lets wait for a change: streams of events, and polls that wait. Each takes
    a file descriptor."""

    api_tokens: dict[str, SecretStr] = {}
    """Bearer tokens by owner, as JSON: {"alice": "a-long-random-string"}. Without any, the API serves
    loopback only, and every job belongs to `local`."""

    metrics: Literal["token", "open", "off"] = "token"
    """Who may read `/metrics`. `token`: whoever brings `metrics_token`, or where that is not given one of
    `api_tokens`; without either, whoever reaches the API. `open`: whoever reaches the API. `off`: nobody."""

    metrics_token: SecretStr | None = None
    """Bearer token for `/metrics` and nothing else, for Prometheus to bring."""

    access_log: bool = True
    """Whether the API logs a line for each request, at INFO."""

    public_url: str | None = None
    """Address of the API as callers see it, for links in answers; taken from the request when not given."""

    trusted_networks: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = ()
    """Non-public networks from which intake may fetch and to which webhooks may be sent, comma-separated
    CIDR, such as 127.0.0.0/8. In them any port is allowed."""

    fetch_ports: Annotated[frozenset[int], NoDecode] = frozenset({80, 443})
    """Ports that intake may fetch from, and webhooks be sent to, on public addresses, comma-separated."""

    fetch_seconds: Seconds = 30.0
    """Wall-clock limit for fetching one picture, name resolution and redirects included."""

    fetch_redirects: int = Field(default=3, ge=0, le=10)
    """Redirects that a fetch follows at most; each target is checked again."""

    picture_bytes: int = Field(default=32 * 2**20, ge=1024)
    """Bytes that one fetched or uploaded picture may have."""

    picture_pixels: int = Field(default=50_000_000, ge=256)
    """Pixels that one picture may have, checked on its header before it is decoded."""

    data_uri_bytes: int = Field(default=256 * 2**10, ge=1024)
    """Bytes that a picture given as a data URI may have."""

    batch_bytes: int = Field(default=64 * 2**20, ge=2**20)
    """Bytes that a batch may have whose caller waits for it to be checked."""

    batch_upload_bytes: int = Field(default=2 * 2**30, ge=2**20)
    """Bytes that a batch may have that is checked later (`Prefer: respond-async`)."""

    batch_lines_seconds: Seconds = 600.0
    """Seconds for which stored lines of a batch that cannot be found, or are damaged, are looked for before
    the batch fails: the time to bring a volume back."""

    decode_seconds: Seconds = 60.0
    """Seconds of CPU that decoding one picture may take in its child process."""

    decode_memory: int = Field(default=2 * 2**30, ge=2**28)
    """Bytes of address space that the decoding child process may use."""

    max_styles: int = Field(default=8, ge=1, le=64)
    """Style pictures that one job may name."""

    max_attempts: int = Field(default=3, ge=1, le=20)
    """Attempts a stage has at a job; only infrastructure faults use them up."""

    quarantine_seconds: float = Field(default=3600.0, ge=0, allow_inf_nan=False)
    """Seconds for which a job that ended its worker in every attempt is refused when it comes again, with the
    same spec and pictures; 0 never refuses."""

    retry_delay: Seconds = 2.0
    """Seconds before a second attempt; doubled for each further one."""

    lease_seconds: Seconds = 30.0
    """Seconds for which a claim holds without a heartbeat; it beats twice a second, or oftener. More than
    `redis_timeout`."""

    intake_slots: int = Field(default=4, ge=1, le=256)
    """Jobs whose pictures one intake worker fetches at a time."""

    intake_stall_seconds: Seconds = 600.0
    """Seconds without progress after which an intake attempt counts as stalled and its process ends."""

    paint_stall_seconds: Seconds = 900.0
    """Seconds without progress after which a paint attempt counts as stalled and its process ends."""

    batch: int = Field(default=0, ge=0, le=1024)
    """Jobs that a paint worker paints together at most, where they are alike and fit into memory; 0 takes as
    many as pay, 1 paints each alone."""

    checkpoint_seconds: Seconds = 10.0
    """Longest time between two checkpoints of a running job."""

    store_seconds: Seconds = 180.0
    """Seconds for which a paint worker tries to read its pictures, and with the finished one in hand to store
    it, while the object store is away; only then has the attempt failed."""

    reap_seconds: Seconds = 2.0
    """Seconds between two rounds of the reaper, which heals what crashed workers left."""

    bells: int = Field(default=4, ge=1, le=1000)
    """Bells that may be outstanding for a stage: how many idle workers one submit can wake."""

    deadline_seconds: Seconds = 86_400.0
    """Seconds after which a job that has not ended is expired or canceled, unless the job says otherwise."""

    retention_seconds: Seconds = 604_800.0
    """Seconds for which an ended job is kept, and its result with it; a job may ask for less."""

    output_seconds: Seconds | None = None
    """Seconds for which the result of an ended job is kept, where the job itself is kept longer; as long as
    the job when not given."""

    archive_seconds: Seconds = 86_400.0
    """Seconds for which the archive of a batch is kept once it is built; after that it is built anew."""

    upload_seconds: Seconds | None = None
    """Seconds for which an upload is kept; `retention_seconds` when not given."""

    input_grace_seconds: Seconds = 3600.0
    """Seconds for which an input picture outlives the last job or upload that names it. One that has just
    come in has as long to be named, so this is not to be shorter than a request or a fetch may take."""

    webhook_seconds: float = Field(default=20.0, ge=0.5, le=30)
    """Wall-clock limit for one attempt to deliver a webhook, name resolution included."""

    webhook_delays: Annotated[tuple[Annotated[float, Field(ge=0, le=86_400)], ...], NoDecode] = Field(
        default=(0.0, 5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0), min_length=1, max_length=20
    )
    """Seconds before each attempt to deliver a webhook, counted from the one before, comma-separated; up to a
    tenth is added by chance."""

    webhook_slots: int = Field(default=32, ge=1, le=512)
    """Webhooks that one chores worker delivers at a time."""

    webhook_host_slots: int = Field(default=4, ge=1, le=512)
    """Of these, those to one host; a host that was slow has one until it is quick again."""

    webhook_owner_slots: int = Field(default=24, ge=1, le=512)
    """Of these, those of one owner."""

    weights_dir: Path | None = None
    """Folder with backbone weights; `weights` below `data_dir` when not given."""

    device: str = Field(default="auto", pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")
    """Device the paint worker uses: auto, cpu, cuda, cuda:N or mps."""

    dtype: Literal["auto", "float32", "tf32", "bfloat16"] = "auto"
    """Arithmetic of the feature network; losses and optimiser stay in float32. `auto` takes bfloat16 where
    the processor computes in it, `tf32` is a precision of NVIDIA GPUs."""

    memory: int = Field(default=0, ge=0)
    """Bytes that one painting may take on the device; larger ones are painted in tiles. 0 takes six tenths of
    what is free when it begins."""

    torch_threads: int = Field(default=0, ge=0, le=1024)
    """CPU threads of the paint worker; 0 leaves the choice to torch."""

    recycle_bytes: int = Field(default=0, ge=0)
    """Bytes of resident set past which a worker leaves after a job, to be started anew by its supervisor. 0
    takes half of what the machine has or the container may take, and at least twice what it began with."""

    recycle_device_bytes: int = Field(default=0, ge=0)
    """Bytes of GPU memory that a paint worker may hold between jobs, likewise. 0 takes half of what the GPU
    has."""

    log_format: Literal["text", "json"] = "text"
    """How lines are logged: `text` for people, `json` for programs: one object a line."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Least severe message that is logged."""

    @field_validator("trusted_networks", "fetch_ports", "webhook_delays", mode="before")
    @classmethod
    def _split_commas(cls, value: object) -> object:
        return (
            [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value
        )

    @field_validator("redis_url")
    @classmethod
    def _is_an_address_of_redis(cls, url: str) -> str:
        # What is wrong with it in particular may be a part of its password, and is not told.
        if not _is_redis(url):
            raise ValueError(
                f"{PREFIX}REDIS_URL is no address of Redis: redis://[[user]:password@]host[:port][/number], "
                "rediss://... for TLS, or unix:///path; / # ? [ ] @ % in a password are percent-encoded; "
                f"options are {', '.join(sorted(REDIS_OPTIONS))}, and ssl_... of redis-py's"
            )
        return url

    @model_validator(mode="after")
    def _leases_outlast_a_wait(self) -> Self:
        """A beat that is waited for must not cost the lease that it is to renew."""
        if self.lease_seconds <= self.redis_timeout:
            raise ValueError(
                f"{PREFIX}LEASE_SECONDS ({self.lease_seconds:g}) must be larger than "
                f"{PREFIX}REDIS_TIMEOUT ({self.redis_timeout:g}): raise the one or lower the other"
            )
        return self

    @property
    def objects_dir(self) -> Path:
        """Folder of the local object store."""
        return self.data_dir / "objects"

    @property
    def weights_path(self) -> Path:
        """Folder with backbone weights."""
        return self.weights_dir or self.data_dir / "weights"


def _is_redis(url: str) -> bool:
    """Whether redis-py makes a connection of it, and the one that is meant."""
    try:
        address = urlsplit(url)
        options = parse_qsl(address.query, keep_blank_values=True, strict_parsing=bool(address.query))
        ConnectionPool.from_url(url).make_connection()
        tcp = address.scheme != "unix"
        names_a_server = address.hostname and re.fullmatch(r"/?\d*", address.path) if tcp else address.path
    except Exception:  # noqa: BLE001 - of any kind, from redis-py
        return False
    known = all(name in REDIS_OPTIONS or (tcp and name.startswith("ssl_")) for name, _ in options)
    return bool(known and names_a_server and not address.fragment)


def check_names(environ: Mapping[str, str]) -> None:
    """Refuse variables that carry our prefix but name no setting.

    Raises:
        UnknownSettingError: naming every such variable.
    """
    known = {PREFIX + name.upper() for name in Settings.model_fields}.union(CLIENTS)
    unknown = sorted(
        name
        for name in environ
        if name.startswith(PREFIX) and name not in known and not name.startswith(TESTS_PREFIX)
    )
    if unknown:
        raise UnknownSettingError(
            f"unknown setting {', '.join(unknown)}; docs/configuration.md lists them all"
        )


@cache
def settings() -> Settings:
    """The settings of this process, read once from the environment."""
    check_names(os.environ)
    return Settings()
