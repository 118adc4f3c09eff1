"""The documentation says what the code says."""

import subprocess
import sys
from pathlib import Path

import pytest

from client.options import flag
from deploy import configuration
from shared.backbones import BACKBONES
from shared.settings import PREFIX, Settings
from shared.spec import PRESET_DESCRIPTIONS, PRESETS, Spec, SpecRequest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


@pytest.mark.parametrize("name", list(configuration.PAGES))
def test_a_generated_page_is_current(name: str) -> None:
    assert (DOCS / name).read_text() == configuration.PAGES[name](), "run python -m deploy.configuration"


@pytest.mark.parametrize("name", list(Settings.model_fields))
def test_every_setting_has_a_sentence_and_a_row(name: str) -> None:
    assert Settings.model_fields[name].description
    assert f"\n| `{PREFIX}{name.upper()}` |" in configuration.configuration()


@pytest.mark.parametrize("name", list(Spec.model_fields))
def test_every_field_of_the_spec_has_a_sentence_and_a_row(name: str) -> None:
    assert Spec.model_fields[name].description
    assert f"\n| `{name}` |" in configuration.spec()


def test_every_preset_and_backbone_is_described() -> None:
    page = configuration.spec()
    assert set(PRESETS) == set(PRESET_DESCRIPTIONS)
    for name in (*PRESETS, *BACKBONES):
        assert f"\n| `{name}` |" in page


def test_the_check_tells_a_stale_page_and_writing_mends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(configuration, "DOCS", tmp_path)
    assert configuration.main([]) == 0
    assert configuration.main(["--check"]) == 0
    (tmp_path / "spec.md").write_text("old")
    assert configuration.main(["--check"]) == 1
    assert "docs/spec.md is not current" in capsys.readouterr().err
    assert configuration.main([]) == 0
    assert configuration.main(["--check"]) == 0


def test_the_pages_are_the_same_in_every_process() -> None:
    command = [sys.executable, "-m", "deploy.configuration", "--check"]
    subprocess.run(command, cwd=ROOT, check=True, timeout=240, env={"PYTHONHASHSEED": "7"})


def test_tables_have_as_many_cells_in_every_row() -> None:
    for page in configuration.PAGES.values():
        for block in page().split("\n\n"):
            rows = [line.replace(r"\|", "") for line in block.splitlines() if line.startswith("|")]
            assert len({row.count("|") for row in rows}) <= 1


def test_the_client_page_names_every_command_and_error() -> None:
    import client
    from client.cli import main

    page = (DOCS / "client.md").read_text()
    for name in main.commands:
        assert f"impasto {name}" in page
    for name in client.__all__:
        assert f"`{name}" in page or f" {name}(" in page
    for name in SpecRequest.model_fields:
        assert flag(name) in page or "spec.md" in page
