"""Curves are read and drawn right."""

import xml.etree.ElementTree as ET

import pytest

from bench.curves import Figure, Point, at, drawing, tables
from bench.plot import Axis, Curve, Panel, svg

OURS = [Point(0.5, 10, 9.0, 9.5), Point(1.0, 20, 2.05, 4.0), Point(2.0, 430, 1.9, 3.0)]
PLAIN = [Point(1.5, 5, 8.0, 8.5), Point(10.0, 500, 2.0, 2.5)]
FIGURE = Figure("coast, night", "float32", OURS, PLAIN)


def test_the_loss_at_a_second_is_the_latest_pictures() -> None:
    assert at(OURS, 0.4, "loss") is None
    assert at(OURS, 1.9, "loss") == 2.05
    assert at(OURS, 99, "saved") == 3.0


def test_arrival_is_the_first_picture_within_five_per_cent() -> None:
    assert FIGURE.arrival("loss") == 1.0
    assert FIGURE.arrival("saved") is None


def test_the_table_gives_ratios_of_losses_and_of_seconds() -> None:
    ends, way = tables([FIGURE])
    stands, saved = ends.rows
    assert stands == [
        "coast, night",
        "as it stands",
        "2.000",
        "10.0",
        "1.900",
        "0.95",
        "2.000",
        "0.20",
        "1.000",
        "0.100",
    ]
    assert saved[4:6] == ["3.000", "1.20"]
    assert saved[-2:] == ["never", "-"]
    assert way.rows[0][2:] == ["9.000 / -", "2.050 / -", "1.900 / 8.000", "1.900 / 8.000", "1.900 / 2.000"]


def test_the_drawing_has_a_panel_a_pair_and_every_curve() -> None:
    root = ET.fromstring(drawing([FIGURE, FIGURE]))
    name = "{http://www.w3.org/2000/svg}"
    assert len(root.findall(f"{name}g")) == 2
    assert len(root.findall(f".//{name}polyline")) == 8


def test_what_is_smaller_lies_lower_and_further_left() -> None:
    root = ET.fromstring(svg([Panel("a < b & c", [Curve("one", [(1.0, 5.0), (10.0, 50.0)])])], "s", "loss"))
    (line,) = root.iter("{http://www.w3.org/2000/svg}polyline")
    (x1, y1), (x2, y2) = (map(float, point.split(",")) for point in line.attrib["points"].split())
    assert x1 < x2
    assert y1 > y2


@pytest.mark.parametrize(
    ("least", "largest", "expected"),
    [(0.9, 3.0, [1, 2]), (3.0, 40.0, [5, 10, 20]), (1e-3, 1e3, [1e-3, 1e-2, 0.1, 1, 10, 100, 1e3])],
)
def test_ticks_are_round_numbers_within_the_axis(least: float, largest: float, expected: list[float]) -> None:
    assert Axis(least, largest, 0, 100).ticks() == pytest.approx(expected)
