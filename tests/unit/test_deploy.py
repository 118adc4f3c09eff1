"""What the container files promise, read from them: settings that exist, no way out for paint, no root."""

import json
import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared.errors import Fault
from shared.settings import CLIENTS, PREFIX, Settings

ROOT = Path(__file__).parents[2]
BASE = ROOT / "docker-compose.yml"
OVERRIDES = sorted((ROOT / "deploy").glob("compose.*.yml"))
DOCKERFILES = sorted((ROOT / "deploy").glob("*.Dockerfile"))
OURS = ("api", "intake", "paint", "chores")
STAYING = (*OURS, "valkey", "s3")
SETTINGS = {PREFIX + name.upper() for name in Settings.model_fields}
VARIABLE = re.compile(r"(?<!\$)\$\{(\w+)")


class ComposeLoader(yaml.SafeLoader):
    """YAML with Compose's own tags, which say how overrides are merged."""


ComposeLoader.add_constructor("!reset", lambda _loader, _node: None)
ComposeLoader.add_constructor("!override", lambda loader, node: loader.construct_mapping(node, deep=True))


def compose(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), ComposeLoader)
    return loaded


def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = compose(BASE)["services"]
    return found


def dockerfile_of(service: str) -> Path:
    """What builds the image that a service of ours runs; another service may be the one to build it."""
    image = services()[service]["image"]
    found = {
        it["build"]["dockerfile"] for it in services().values() if it["image"] == image and "build" in it
    }
    (dockerfile,) = found
    return ROOT / str(dockerfile)


def instructions(path: Path, name: str) -> list[str]:
    """Arguments of every instruction of this name, continued lines joined, comments left out."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return re.findall(rf"^{name}\s+(.*)$", joined, re.MULTILINE)


def test_the_whole_house_is_in_the_compose_file() -> None:
    assert set(services()) == {*STAYING, "weights"}


def test_the_overrides_are_found() -> None:
    assert [path.name for path in OVERRIDES] == ["compose.gpu.yml", "compose.local-storage.yml"]


@pytest.mark.parametrize("path", [BASE, *OVERRIDES], ids=lambda path: path.name)
def test_every_variable_of_ours_that_a_container_gets_is_a_setting(path: Path) -> None:
    given = {
        variable
        for service in compose(path)["services"].values()
        for variable in (service or {}).get("environment") or {}
        if variable.startswith(PREFIX)
    }
    assert given
    assert given <= SETTINGS


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_every_variable_of_ours_that_an_image_sets_is_a_setting(path: Path) -> None:
    given = set(re.findall(rf"{PREFIX}\w+", " ".join(instructions(path, "ENV"))))
    assert given
    assert given <= SETTINGS


def test_every_variable_the_compose_files_read_is_documented() -> None:
    documented = (ROOT / ".env.example").read_text(encoding="utf-8")
    documented += (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    read = {name for path in (BASE, *OVERRIDES) for name in VARIABLE.findall(path.read_text("utf-8"))}
    assert [name for name in sorted(read) if not re.search(rf"\b{name}\b", documented)] == []


def test_paint_is_on_networks_without_a_way_out_only() -> None:
    networks = compose(BASE)["networks"]
    assert services()["paint"]["networks"] == ["inside"]
    assert networks["inside"]["internal"] is True
    assert "ports" not in services()["paint"]
    for path in OVERRIDES:
        assert "networks" not in compose(path)["services"]["paint"]


def test_only_what_fetches_or_tells_has_a_way_out() -> None:
    assert [name for name, service in services().items() if "egress" in service["networks"]] == [
        "intake",
        "chores",
        "weights",
    ]


def test_only_api_and_s3_are_published_and_on_loopback_by_default() -> None:
    published = {name: service["ports"] for name, service in services().items() if "ports" in service}
    assert set(published) == {"api", "s3"}
    for ports in published.values():
        assert all(re.match(r"\$\{\w+:-127\.0\.0\.1\}:", port) for port in ports)


def test_tokens_go_to_the_api_alone() -> None:
    given = [
        name for name, service in services().items() if "IMPASTO_API_TOKENS" in service.get("environment", {})
    ]
    assert given == ["api"]


@pytest.mark.parametrize("variable", ["IMPASTO_API_TOKENS", "VALKEY_PASSWORD", "IMPASTO_S3_SECRET_KEY"])
def test_a_secret_has_no_default_and_its_absence_says_what_to_do(variable: str) -> None:
    uses = re.findall(rf"(?<!\$)\$\{{{variable}([^}}]*)}}", BASE.read_text(encoding="utf-8"))
    assert uses
    assert set(uses) == {":?set it in .env, see .env.example"}


@pytest.mark.parametrize("name", [*STAYING, "weights"])
def test_every_container_is_confined(name: str) -> None:
    service = services()[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["init"] is True
    assert all(mount.startswith("/tmp:size=") for mount in service["tmpfs"])
    assert {"mem_limit", "pids_limit"} <= set(service)
    user = service.get("user") or "".join(instructions(dockerfile_of(name), "USER"))
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)


@pytest.mark.parametrize("name", STAYING)
def test_every_container_that_stays_is_checked_and_comes_back(name: str) -> None:
    service = services()[name]
    assert service["restart"] == "unless-stopped"
    assert "healthcheck" in service or instructions(dockerfile_of(name), "HEALTHCHECK")
    assert service["stop_grace_period"]


@pytest.mark.parametrize("stage", ["intake", "paint", "chores"])
def test_a_worker_is_checked_for_its_own_queue(stage: str) -> None:
    check = services()[stage].get("healthcheck", {}).get("test")
    if check is None:
        (instruction,) = instructions(dockerfile_of(stage), "HEALTHCHECK")
        check = json.loads(instruction[instruction.index("[") :])
    assert check[-3:] == ["-m", "worker.health", stage]


@pytest.mark.parametrize("name", OURS)
def test_what_is_ours_waits_for_the_stores(name: str) -> None:
    assert services()[name]["depends_on"] == {
        "valkey": {"condition": "service_healthy"},
        "s3": {"condition": "service_healthy"},
    }


def test_work_under_way_fits_into_the_time_to_stop() -> None:
    defaults = {name: field.default for name, field in Settings.model_fields.items()}
    gunicorn = (ROOT / "api" / "gunicorn.py").read_text(encoding="utf-8")
    graceful = re.search(r"^graceful_timeout = (\d+)$", gunicorn, re.MULTILINE)
    assert graceful
    assert _grace("api") > int(graceful[1])
    assert _grace("intake") > defaults["fetch_seconds"] + defaults["decode_seconds"]
    assert _grace("paint") >= 60


def _grace(name: str) -> int:
    return int(services()[name]["stop_grace_period"].removesuffix("s"))


def test_local_storage_does_without_the_s3_server() -> None:
    override = compose(ROOT / "deploy" / "compose.local-storage.yml")["services"]
    assert override.pop("s3") is None
    assert set(override) == set(OURS)
    for service in override.values():
        assert service["environment"]["IMPASTO_STORAGE"] == "local"
        assert set(service["depends_on"]) == {"valkey"}


def test_valkey_keeps_what_it_answered_for() -> None:
    script = services()["valkey"]["command"][-1]
    for line in ("appendonly yes", "maxmemory-policy noeviction", "requirepass $$VALKEY_PASSWORD"):
        assert line in script.splitlines()


def test_images_of_others_are_pinned() -> None:
    for name in ("valkey", "s3"):
        assert re.search(r":-[\w./-]+:\d[\w.-]*}$", services()[name]["image"])


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_an_image_is_built_as_promised(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert "syntax=" not in text
    assert not re.search(r"https?://(?!127\.0\.0\.1)", text)
    assert {base.split()[0] for base in instructions(path, "FROM")} == {"${PYTHON_IMAGE}", "dependencies"}
    assert instructions(path, "FROM")[-1] == "${PYTHON_IMAGE}"
    assert instructions(path, "USER") == ["10001:10001"]
    (command,) = instructions(path, "CMD")
    assert json.loads(command)
    assert any("-c constraints.txt" in run for run in instructions(path, "RUN"))
    assert 'VERSION="' not in text
    assert f"VERSION={_version()}" in instructions(path, "ARG")


def _version() -> str:
    with (ROOT / "pyproject.toml").open("rb") as file:
        return str(tomllib.load(file)["project"]["version"])


def test_the_light_image_has_no_torch() -> None:
    (install,) = [run for run in instructions(dockerfile_of("api"), "RUN") if "constraints.txt" in run]
    assert "'.[api,client,intake]'" in install


def test_the_build_context_has_every_package_and_no_secret() -> None:
    rules = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [rule for rule in rules if rule and not rule.startswith("#")]
    assert rules[0] == "*"
    let_in = [rule[1:] for rule in rules if rule.startswith("!")]
    for rule in let_in:
        assert list(ROOT.glob(rule)), f"{rule} lets nothing in"
    with (ROOT / "pyproject.toml").open("rb") as file:
        packages = tomllib.load(file)["tool"]["setuptools"]["packages"]["find"]["include"]
    for package in packages:
        assert any(rule.split("/")[0] == package.removesuffix("*") for rule in let_in)
    for secret in (".env", "impasto.env", "var/valkey/password", ".git/config"):
        assert not any(fnmatch(secret, rule) or secret.startswith(f"{rule}/") for rule in let_in)


def test_every_fault_code_has_a_line_in_the_troubleshooting_table() -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    table = text[text.index("## Troubleshooting") : text.index("| Symptom |")]
    codes = {Fault.code, *(fault.code for fault in Fault.__subclasses__())}
    assert [code for code in sorted(codes) if f"`{code}`" not in table] == []


def test_the_operations_page_names_settings_that_exist() -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    named = set(re.findall(rf"\b{PREFIX}[A-Z0-9_]+\b", text)) - {*CLIENTS}
    assert named <= SETTINGS
