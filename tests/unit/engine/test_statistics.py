"""Styles' statistics: computed once, kept here and beyond, never confused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from shared.spec import Spec
from worker.engine import Engine, Request, Style, backbones, level
from worker.engine.level import Level, Subject
from worker.engine.moments import Moments
from worker.engine.statistics import Found, Statistics, digest

MakeSpec = Callable[..., Spec]


class Shelf:
    """A store in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def get(self, key: str) -> bytes | None:
        return self.kept.get(key)

    def put(self, key: str, data: bytes) -> None:
        self.kept[key] = data


def found(value: float = 1.0, size: int = 4) -> Found:
    return {
        "conv1_1": Moments(torch.full((1, 1, size, size), value), torch.full((1, 1, size), value)),
        "conv2_1": Moments(torch.full((1, 1, size, size), 2 * value), None),
    }


class Measure:
    """Counts how often something is measured."""

    def __init__(self, result: Found) -> None:
        self.result, self.times = result, 0

    def __call__(self) -> Found:
        self.times += 1
        return self.result


def equal(one: Found, other: Found) -> bool:
    return one.keys() == other.keys() and all(
        torch.equal(one[layer].second, other[layer].second)
        and (one[layer].first is None) == (other[layer].first is None)
        and (one[layer].first is None or torch.equal(one[layer].first, other[layer].first))
        for layer in one
    )


def test_the_same_facts_are_measured_once() -> None:
    kept, measure = Statistics(), Measure(found())
    for facts in ({"a": 1, "b": "x"}, {"b": "x", "a": 1}):
        assert equal(kept.of(facts, measure), measure.result)
    assert measure.times == 1
    kept.of({"a": 2, "b": "x"}, measure)
    assert measure.times == 2


def test_another_process_finds_them_in_the_store() -> None:
    shelf, measure = Shelf(), Measure(found())
    Statistics(shelf).of({"a": 1}, measure)
    assert equal(Statistics(shelf).of({"a": 1}, measure), measure.result)
    assert measure.times == 1


@pytest.mark.parametrize("spoil", ["flipped", "cut", "empty", "other"])
def test_damaged_ones_are_measured_anew_and_mended(spoil: str) -> None:
    shelf, measure = Shelf(), Measure(found())
    Statistics(shelf).of({"a": 1}, measure)
    ((key, data),) = shelf.kept.items()
    damaged = {
        "flipped": data[:-3] + bytes([data[-3] ^ 64]) + data[-2:],
        "cut": data[: len(data) // 2],
        "empty": b"",
        "other": b"<html>no such key</html>",
    }
    shelf.kept[key] = damaged[spoil]
    assert equal(Statistics(shelf).of({"a": 1}, measure), measure.result)
    assert measure.times == 2
    assert shelf.kept[key] == data


def test_in_memory_the_least_recently_used_make_room() -> None:
    one = found(size=8)
    size = sum(m.second.nbytes + (0 if m.first is None else m.first.nbytes) for m in one.values())
    kept, measure = Statistics(in_memory=2 * size), Measure(one)
    kept.of({"a": 1}, measure)
    kept.of({"a": 2}, measure)
    kept.of({"a": 1}, measure)
    kept.of({"a": 3}, measure)
    assert measure.times == 3
    kept.of({"a": 1}, measure)
    assert measure.times == 3
    kept.of({"a": 2}, measure)
    assert measure.times == 4


def test_one_that_is_larger_than_the_bound_is_still_of_use() -> None:
    kept, measure = Statistics(in_memory=1), Measure(found())
    assert equal(kept.of({"a": 1}, measure), measure.result)
    assert equal(kept.of({"a": 1}, measure), measure.result)
    assert measure.times == 1


def test_a_digest_names_values_and_shape() -> None:
    picture = torch.rand(3, 4, 6)
    assert digest(picture) == digest(picture.clone())
    assert digest(picture) == digest(picture.permute(1, 2, 0).contiguous().permute(2, 0, 1))
    assert digest(picture) != digest(picture.view(3, 6, 4))
    assert digest(picture) != digest(picture + 1e-6)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """The digests of styles that the engine measures."""
    styles: list[str | None] = []
    measure = Level._measure

    def noted(self: Level, view: Any, style: Style, size: tuple[int, int]) -> Found:
        styles.append(style.digest)
        return measure(self, view, style, size)

    monkeypatch.setattr(Level, "_measure", noted)
    return styles


def test_many_contents_in_one_style_measure_it_once_a_level(
    weights_dir: Path, make_spec: MakeSpec, texture: Tensor, measured: list[str]
) -> None:
    shelf, spec = Shelf(), make_spec(size=128, pyramid=2, steps=2)
    generator = torch.Generator().manual_seed(0)
    engine = Engine(weights_dir, device="cpu", dtype="float32", statistics=shelf)
    for _ in range(3):
        engine.stylize(torch.rand(3, 48, 64, generator=generator), [Style(texture)], spec)
    assert len(measured) == len(shelf.kept) == 2
    # Another process, another content: nothing is measured.
    other = Engine(weights_dir, device="cpu", dtype="float32", statistics=shelf)
    other.stylize(torch.rand(3, 48, 64, generator=generator), [Style(texture)], spec)
    assert len(measured) == 2


def test_a_kept_style_paints_what_a_measured_one_paints(
    weights_dir: Path, make_spec: MakeSpec, photograph: Tensor, texture: Tensor
) -> None:
    shelf, spec = Shelf(), make_spec(steps=5, style_loss="moments")
    images = [
        Engine(weights_dir, device="cpu", dtype="float32", statistics=shelf)
        .stylize(photograph, [Style(texture)], spec)
        .image
        for _ in range(2)
    ]
    assert torch.equal(*images)


def test_everything_that_the_numbers_depend_on_tells_them_apart(
    engine: Engine, make_spec: MakeSpec, photograph: Tensor, texture: Tensor, measured: list[str]
) -> None:
    mask = torch.zeros(8, 8)
    mask[:4] = 1
    usual = Style(texture)
    asked = [
        (usual, {}),
        (Style(texture.flip(-1)), {}),
        (Style(texture, mask=mask), {}),
        (Style(texture, mask=1 - mask), {}),
        (usual, {"size": 48}),
        (usual, {"style_scale": 0.5}),
        (usual, {"style_layers": {"conv1_1": 1.0}}),
        (usual, {"style_loss": "gram"}),
        (usual, {"pooling": "max"}),
        (usual, {"color": "match"}),
    ]
    for number, (style, fields) in enumerate(asked, start=1):
        for _ in range(2):
            engine.stylize(photograph, [style], make_spec(steps=1, **fields))
        assert len(measured) == number, fields


def test_they_go_by_the_weights_that_were_loaded_whatever_lies_there_now(
    tmp_path: Path, weights_dir: Path, make_spec: MakeSpec, photograph: Tensor, texture: Tensor
) -> None:
    file, shelf = tmp_path / "compact.safetensors", Shelf()
    file.write_bytes((weights_dir / file.name).read_bytes())
    old = Engine(tmp_path, device="cpu", dtype="float32", statistics=shelf)
    old.stylize(photograph, [Style(texture)], make_spec(steps=1))
    file.write_bytes((backbones.SHIPPED / file.name).read_bytes())
    old.stylize(photograph, [Style(texture)], make_spec(steps=1))
    assert len(shelf.kept) == 1
    new = Engine(tmp_path, device="cpu", dtype="float32", statistics=shelf)
    new.stylize(photograph, [Style(texture)], make_spec(steps=1))
    assert len(shelf.kept) == 2


def test_a_style_that_is_looked_at_larger_than_the_picture_is_seen_in_tiles(
    engine: Engine,
    make_spec: MakeSpec,
    photograph: Tensor,
    texture: Tensor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found: dict[int, Found] = {}
    for side in (64, 1024):
        monkeypatch.setattr(level, "STYLE_TILE", side)
        kept = Statistics()
        view = Level(engine.features("compact"), "x", (48, 64), 64, None, kept)
        spec = make_spec(style_scale=8)
        view.objective([Subject(Request(photograph, [Style(texture)], spec))])
        (found[side],) = kept._kept.values()
    for layer, tiled in found[64].items():
        whole = found[1024][layer]
        assert torch.allclose(tiled.second, whole.second, rtol=1e-3, atol=1e-4)
        assert not torch.equal(tiled.second, whole.second)


def test_what_the_numbers_do_not_depend_on_does_not(
    engine: Engine, make_spec: MakeSpec, photograph: Tensor, texture: Tensor, measured: list[str]
) -> None:
    region = torch.ones(4, 4)
    for style in (Style(texture), Style(texture, weight=3), Style(texture, region=region)):
        for fields in ({}, {"seed": 3}, {"style_weight": 7.0}, {"weighting": "paper"}, {"optimizer": "adam"}):
            engine.stylize(photograph, [style], make_spec(steps=1, **fields))
    assert len(measured) == 1


def test_a_caller_s_name_for_a_style_serves_as_its_digest(
    engine: Engine, make_spec: MakeSpec, photograph: Tensor, texture: Tensor, measured: list[str]
) -> None:
    engine.stylize(photograph, [Style(texture, digest="starry")], make_spec(steps=1))
    assert measured == ["starry"]
