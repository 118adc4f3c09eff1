"""The arrows between the rooms: who may import whom, read from the source and proved at run time."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("api", "client", "deploy", "shared", "worker")
TORCH = ("torch", "torchvision", "safetensors")
#: The paint worker's modules outside the engine.
PAINT = tuple(
    f"worker.{name}" for name in ("attempt", "checkpoints", "paint", "pictures", "previews", "results")
)


@dataclass(frozen=True)
class Import:
    """One import: `importer` is a module, `imported` the module (or module.name) it names."""

    importer: str
    imported: str
    at_top: bool
    line: int

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.imported}"


def imports_of(source: str, module: str) -> Iterator[Import]:
    tree = ast.parse(source)
    top = {id(node) for node in _at_import(tree)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(module, alias.name, id(node) in top, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno}: imports here name their room"
            for alias in node.names:
                yield Import(module, f"{node.module}.{alias.name}", id(node) in top, node.lineno)


def _at_import(tree: ast.AST) -> Iterator[ast.AST]:
    """Nodes that run when the module is imported: everything outside functions."""
    for node in ast.iter_child_nodes(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield node
            yield from _at_import(node)


def all_imports() -> list[Import]:
    found = []
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            found += imports_of(path.read_text(encoding="utf-8"), module)
    return found


IMPORTS = all_imports()


def within(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


def ours(name: str) -> bool:
    return within(name, *ROOMS)


def turned(importer: tuple[str, ...], forbidden: tuple[str, ...], but: tuple[str, ...] = ()) -> list[str]:
    return [
        str(one)
        for one in IMPORTS
        if within(one.importer, *importer)
        and not within(one.importer, *but)
        and within(one.imported, *forbidden)
    ]


def beyond(importer: tuple[str, ...], allowed: tuple[str, ...], but: tuple[str, ...] = ()) -> list[str]:
    return [
        str(one)
        for one in IMPORTS
        if within(one.importer, *importer)
        and not within(one.importer, *but)
        and ours(one.imported)
        and not within(one.imported, *allowed)
    ]


def test_the_reader_sees_every_room_and_every_kind_of_import() -> None:
    assert {one.importer.partition(".")[0] for one in IMPORTS} == set(ROOMS)
    source = "import a.b\nfrom c import d\ndef f():\n    import e\nif x:\n    import g\n"
    seen = {(one.imported, one.at_top) for one in imports_of(source, "m")}
    assert seen == {("a.b", True), ("c.d", True), ("e", False), ("g", True)}


def test_shared_imports_no_other_room_and_neither_flask_nor_torch() -> None:
    assert beyond(("shared",), ("shared",)) == []
    assert turned(("shared",), ("flask", *TORCH)) == []


def test_the_api_imports_shared_alone_and_never_torch() -> None:
    assert beyond(("api",), ("api", "shared")) == []
    assert turned(("api",), TORCH) == []


def test_workers_do_not_import_api_client_or_deploy() -> None:
    assert turned(("worker",), ("api", "client", "deploy", "flask")) == []


def test_the_engine_knows_specs_sizes_and_backbones_and_nothing_of_the_service() -> None:
    known = ("worker.engine", "shared.spec", "shared.sizes", "shared.backbones", "shared.engine_version")
    assert beyond(("worker.engine",), known) == []
    service = ("celery", "kombu", "redis", "boto3", "botocore", "httpx", "requests", "flask")
    assert turned(("worker.engine",), service) == []


def test_only_paint_imports_the_engine() -> None:
    at_top = [
        str(one)
        for one in IMPORTS
        if one.at_top and within(one.imported, "worker.engine") and not within(one.importer, "worker.engine")
    ]
    assert [one for one in at_top if one.partition(":")[0] not in PAINT] == []
    # The worker's entry point makes the engine for the stage it runs, and imports it only then.
    late = turned(("worker",), ("worker.engine",), but=("worker.engine", *PAINT))
    assert [one for one in late if not one.startswith("worker.__main__:")] == []


def test_only_paint_and_the_engine_import_torch() -> None:
    late = [one for one in IMPORTS if one.importer == "worker.__main__" and not one.at_top]
    assert set(turned(("worker",), TORCH, but=("worker.engine", *PAINT))) <= {str(one) for one in late}


def test_the_client_imports_the_spec_and_loads_engine_and_audit_only_to_use_them() -> None:
    allowed = ("client", "shared.spec", "shared.backbones")
    assert beyond(("client",), allowed, but=("client.stylize", "client.doctor")) == []
    assert beyond(("client.stylize",), (*allowed, "worker.engine")) == []
    # The doctor works where the service is installed, on its stores: nothing of that is loaded for a caller.
    assert beyond(("client.doctor",), (*allowed, "shared.audit")) == []
    late = [
        one
        for one in IMPORTS
        if within(one.importer, "client") and within(one.imported, "worker", "shared.audit")
    ]
    assert [str(one) for one in late if one.at_top] == []
    assert turned(("client",), TORCH) == []


@pytest.mark.parametrize(
    "names",
    [
        ("api", "shared"),
        ("worker.chores", "worker.intake", "worker.web"),
        ("client.cli", "client.stylize", "client.weights"),
    ],
    ids=" ".join,
)
def test_what_does_not_paint_leaves_torch_out_of_the_process(names: tuple[str, ...]) -> None:
    modules = [one for name in names for one in modules_below(name)]
    code = (
        f"import sys, importlib\n"
        f"for name in {modules}: importlib.import_module(name)\n"
        f"loaded = [name for name in {TORCH} if name in sys.modules]\n"
        "sys.exit(f'{loaded} are loaded' if loaded else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr


def modules_below(name: str) -> list[str]:
    """A module, and what lies below it, except what starts a program when it is imported."""
    return sorted(
        {one.importer for one in IMPORTS if within(one.importer, name)}
        - {one.importer for one in IMPORTS if one.importer.endswith(("__main__", ".child", ".gunicorn"))}
    )
