"""Calibrations are kept on disk, and a cache that cannot be used is no error."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from shared.backbones import BACKBONES
from worker.engine import Engine, calibration_cache
from worker.engine.calibration_cache import CalibrationCache, Key
from worker.engine.network import Network

KEY = Key("0" * 64, "avg", "float32", "cpu")
MEANS = {"conv1_1": torch.tensor([0.5, 2.0]), "conv2_1": torch.rand(8) + 0.1}


@pytest.fixture(autouse=True)
def user_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    return tmp_path / "user" / "impasto"


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    folder = tmp_path / "weights"
    folder.mkdir()
    return folder


def test_what_was_stored_is_found_by_another_process_s_cache(weights: Path, user_folder: Path) -> None:
    CalibrationCache(weights).store(KEY, MEANS)
    found = CalibrationCache(weights).load(KEY)
    assert found.keys() == MEANS.keys()
    assert all(torch.equal(found[layer], MEANS[layer]) for layer in MEANS)
    assert not user_folder.exists()


def test_layers_join_those_that_are_kept_in_one_file(weights: Path) -> None:
    cache = CalibrationCache(weights)
    for layer, means in MEANS.items():
        cache.store(KEY, {layer: means})
    assert cache.load(KEY).keys() == MEANS.keys()
    assert len(list(weights.iterdir())) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"weights_sha256": "1" * 64},
        {"pooling": "max"},
        {"dtype": "bfloat16"},
        {"device": "cuda"},
        {"calibration_set": "dead-leaves-2"},
        {"format": 2},
    ],
    ids=str,
)
def test_another_key_finds_nothing(weights: Path, change: dict[str, str]) -> None:
    cache = CalibrationCache(weights)
    cache.store(KEY, MEANS)
    assert cache.load(replace(KEY, **change)) == {}


@pytest.mark.parametrize("data", [b"", b"\x00" * 8, b"no calibration at all" * 99])
def test_a_damaged_file_is_passed_over_and_written_anew(weights: Path, data: bytes) -> None:
    cache = CalibrationCache(weights)
    cache.store(KEY, MEANS)
    [file] = weights.iterdir()
    file.write_bytes(data)
    assert cache.load(KEY) == {}
    cache.store(KEY, MEANS)
    assert cache.load(KEY).keys() == MEANS.keys()


@pytest.mark.parametrize("means", [torch.tensor([1.0, torch.nan]), torch.tensor([0.0]), torch.ones(2, 2)])
def test_means_that_nothing_could_be_divided_by_are_passed_over(weights: Path, means: torch.Tensor) -> None:
    cache = CalibrationCache(weights)
    cache.store(KEY, {"bad": means, **MEANS})
    assert cache.load(KEY).keys() == MEANS.keys()


def test_the_user_s_folder_serves_where_the_weights_folder_cannot_be_written_to(
    weights: Path, user_folder: Path
) -> None:
    CalibrationCache(weights).store(KEY, {"conv1_1": MEANS["conv1_1"]})
    blocked = weights / "file"  # nobody, not even root, makes a folder below a file
    blocked.touch()
    cache = CalibrationCache(blocked)
    cache.store(KEY, MEANS)
    assert cache.load(KEY).keys() == MEANS.keys()
    assert [path.suffix for path in user_folder.iterdir()] == [".safetensors"]


def test_without_a_place_to_write_there_is_no_cache_and_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    cache = CalibrationCache(None)
    cache.store(KEY, MEANS)
    assert cache.load(KEY) == {}


def test_an_engine_calibrates_once_and_another_finds_it(
    weights_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "stocked"
    folder.mkdir()
    (folder / "compact.safetensors").write_bytes((weights_dir / "compact.safetensors").read_bytes())
    layers = list(BACKBONES["compact"].style_layers)
    first = Engine(folder, "cpu", "float32").features("compact").scales(layers)
    measured: list[str] = []
    measure = calibration_cache.channel_means

    def watched(network: Network, missing: Sequence[str]) -> dict[str, torch.Tensor]:
        measured.extend(missing)
        return measure(network, missing)

    monkeypatch.setattr(calibration_cache, "channel_means", watched)
    features = Engine(folder, "cpu", "float32").features("compact")
    second = features.scales(layers)
    assert all(torch.equal(first[layer], second[layer]) for layer in layers)
    assert measured == []
    features.scales([*layers, "conv4_2"])
    assert measured == ["conv4_2"]
    Engine(folder, "cpu", "bfloat16").features("compact").scales(layers[:1])
    assert measured == ["conv4_2", layers[0]]
