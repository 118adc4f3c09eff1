"""Tiles: that they cover a picture, and that nothing tells a tiled painting from a whole one."""

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from shared.spec import Spec
from tests.unit.engine.conftest import waves
from worker.engine import Engine, Style, memory
from worker.engine.contract import Request
from worker.engine.objective import Objective
from worker.engine.tiles import cover

MakeSpec = Callable[..., Spec]
MakeObjective = Callable[..., Objective]

sides = st.integers(1, 700)
strides = st.sampled_from([1, 2, 4, 8, 16])


@given(st.integers(1, 300), st.integers(1, 300), st.integers(40, 300), st.integers(0, 90), strides)
@settings(deadline=None, max_examples=60)
def test_cores_cover_every_layer_once(height: int, width: int, side: int, halo: int, stride: int) -> None:
    tiles = cover(height, width, side, halo, stride)
    for layer_stride in (s for s in (1, 2, 4, 8, 16) if s <= stride):
        met = torch.zeros(height // layer_stride, width // layer_stride, dtype=torch.int64)
        for tile in tiles:
            mine, whole = tile.own(layer_stride)
            rows, columns = tile.cut()
            seen = torch.zeros((rows.stop - rows.start) // layer_stride, 1)
            seen_across = torch.zeros((columns.stop - columns.start) // layer_stride, 1)
            met[whole] += 1
            # What is cut from the tile's features has the place and the size that it has in the whole's.
            assert len(seen[mine[0]]) == whole[0].stop - whole[0].start
            assert len(seen_across[mine[1]]) == whole[1].stop - whole[1].start
            assert rows.start + mine[0].start * layer_stride == whole[0].start * layer_stride
            assert columns.start + mine[1].start * layer_stride == whole[1].start * layer_stride
        assert bool((met == 1).all())


@given(sides, st.integers(1, 300), st.integers(0, 90), strides)
@settings(deadline=None, max_examples=200)
def test_a_core_has_its_halo_or_ends_with_the_picture(length: int, side: int, halo: int, stride: int) -> None:
    spans = [tile.rows for tile in cover(length, 1, side, halo, stride)]
    assert spans[0].core == 0
    assert spans[-1].core_end == length
    assert all(a.core_end == b.core for a, b in pairwise(spans))
    for span in spans:
        assert span.start % stride == span.core % stride == 0
        assert span.start == 0 or span.core - span.start >= halo
        assert span.end == length or (span.end - span.core_end >= halo and span.core_end % stride == 0)
        assert span.core_end - span.core <= max(side, stride) + 2 * stride


def test_without_a_side_the_picture_is_one_tile() -> None:
    (tile,) = cover(301, 77, None, 70, 16)
    assert tile.is_whole
    assert tile.cut() == (slice(0, 301), slice(0, 77))


def test_a_picture_larger_than_a_tile_is_not_whole() -> None:
    assert len(cover(300, 300, 128, 70, 16)) == 9
    assert not any(tile.is_whole for tile in cover(300, 300, 128, 70, 16))


def relative(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def agree(whole: Objective, tiled: Objective, x: Tensor) -> None:
    one, other = whole(x), tiled(x)
    torch.testing.assert_close(other.terms, one.terms, rtol=1e-4, atol=1e-7)
    for item in range(len(x)):
        assert relative(other.gradient[item], one.gradient[item]) < 1e-4
        # A seam would be an error in few pixels: none may stand out.
        error = (other.gradient[item] - one.gradient[item]).abs().max() / one.gradient[item].abs().max()
        assert float(error) < 1e-3


@pytest.mark.parametrize("side", [128, 192])
def test_at_512_px_the_tiled_gradient_is_the_whole_one(
    objective_of: MakeObjective, make_spec: MakeSpec, side: int
) -> None:
    size = (301, 512)
    request = Request(waves(*size, 0.1), [Style(waves(200, 256, 0.5))], make_spec(size=512))
    x = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(1))
    agree(objective_of([request], size), objective_of([request], size, side), x)


@pytest.mark.parametrize("kind", ["gram", "moments", "paper", "regions", "photorealism", "batch"])
def test_every_kind_of_objective_can_be_seen_in_tiles(
    objective_of: MakeObjective, make_spec: MakeSpec, kind: str
) -> None:
    size = (70, 101)
    spec = make_spec(
        style_loss="moments" if kind == "moments" else "gram",
        weighting="paper" if kind == "paper" else "normalized",
        photorealism=10 if kind == "photorealism" else 0,
    )
    left = torch.zeros(10, 20)
    left[:, :8] = 1
    styles = [Style(waves(56, 56, 0.9))]
    if kind == "regions":
        styles = [Style(waves(56, 56, 0.9), region=left), Style(waves(40, 40, 0.4), region=1 - left)]
    requests = [Request(waves(*size, 0.15), styles, spec)]
    if kind == "batch":
        requests.append(Request(waves(*size, 0.3), [Style(waves(40, 40, 0.4))], spec))
    x = torch.rand(len(requests), 3, *size, generator=torch.Generator().manual_seed(1))
    agree(objective_of(requests, size), objective_of(requests, size, 32), x)


@pytest.mark.parametrize("size", [(5, 120), (120, 1), (17, 97), (48, 49), (47, 48), (16, 113)])
def test_narrow_and_odd_pictures_can_be_seen_in_tiles(
    objective_of: MakeObjective, make_spec: MakeSpec, size: tuple[int, int]
) -> None:
    request = Request(waves(*size, 0.15), [Style(waves(56, 56, 0.9))], make_spec())
    x = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(1))
    agree(objective_of([request], size), objective_of([request], size, 32), x)


@pytest.mark.parametrize("layers", [{"conv1_1": 1.0}, {"conv2_2": 1.0, "conv3_4": 0.5}])
def test_shallow_layers_can_be_seen_in_tiles(
    objective_of: MakeObjective, make_spec: MakeSpec, layers: dict[str, float]
) -> None:
    spec = make_spec(content_layers={"conv2_1": 1.0}, style_layers=layers)
    request = Request(waves(70, 101, 0.15), [Style(waves(56, 56, 0.9))], spec)
    x = torch.rand(1, 3, 70, 101, generator=torch.Generator().manual_seed(1))
    agree(objective_of([request], (70, 101)), objective_of([request], (70, 101), 32), x)


@pytest.mark.parametrize("weights", [{"style_weight": 0}, {"content_weight": 0}, {"tv_weight": 0}])
def test_a_term_without_weight_can_be_seen_in_tiles(
    objective_of: MakeObjective, make_spec: MakeSpec, weights: dict[str, float]
) -> None:
    request = Request(waves(70, 101, 0.15), [Style(waves(56, 56, 0.9))], make_spec(**weights))
    x = torch.rand(1, 3, 70, 101, generator=torch.Generator().manual_seed(1))
    agree(objective_of([request], (70, 101)), objective_of([request], (70, 101), 32), x)


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_an_engine_without_memory_paints_the_same_in_tiles(
    make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch, optimizer: str
) -> None:
    # Few steps, on the shipped weights: L-BFGS multiplies a difference of the last digit by up to ten a step.
    monkeypatch.setattr(memory, "LEAST_TILE", 32)
    content, styles = waves(72, 96, 0.15), [Style(waves(56, 56, 0.9))]
    spec = make_spec(size=96, steps=3, optimizer=optimizer)
    whole = Engine(device="cpu", dtype="float32").stylize(content, styles, spec)
    tiled = Engine(device="cpu", dtype="float32", memory_bytes=1).stylize(content, styles, spec)
    assert (whole.tiled, tiled.tiled) == (False, True)
    assert tiled.losses["total"] == pytest.approx(whole.losses["total"], rel=1e-3)
    torch.testing.assert_close(tiled.image, whole.image, rtol=0, atol=1e-3)
