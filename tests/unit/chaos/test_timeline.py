"""The picture of a chaos run."""

import xml.etree.ElementTree as ET

from shared.jobs.record import Status
from tests.chaos.schedule import schedule
from tests.chaos.timeline import KINDS, LAYERS, svg
from tests.chaos.watch import Sample


def test_every_state_has_its_area_and_every_fault_its_mark() -> None:
    assert LAYERS.keys() == set(Status)
    counts = dict.fromkeys(Status, 0)
    samples = [Sample(float(at), {**counts, Status.QUEUED: 9 - at, Status.SUCCEEDED: at}) for at in range(10)]
    faults = schedule(3, 60, 2)
    drawing = ET.fromstring(svg(samples, faults, "a run"))
    shapes = [element.tag.rpartition("}")[2] for element in drawing.iter()]
    assert shapes.count("polygon") == len(LAYERS)
    assert shapes.count("title") == len(faults)
    assert {fault.kind for fault in faults} == set(KINDS)
