import pytest

from shared.jobs.record import Queue
from shared.jobs.workers import WorkerInfo
from shared.requests.choosing import best


def painter(device: str, *backbones: str) -> WorkerInfo:
    return WorkerInfo(f"painter on {device}", Queue.PAINT, backbones, device)


@pytest.mark.parametrize(
    ("live", "expected"),
    [
        ([], None),
        ([painter("cpu", "compact")], "compact"),
        ([painter("cpu", "vgg19", "compact")], "compact"),
        ([painter("cuda", "vgg19", "compact")], "vgg19"),
        ([painter("cpu", "compact"), painter("cuda:1", "compact", "vgg19")], "vgg19"),
        ([painter("cuda", "compact"), painter("cpu", "vgg19")], "compact"),
        ([painter("cpu", "vgg16")], "vgg16"),
        ([painter("cpu", "regnet_y_400mf")], None),
        ([painter("cpu", "regnet_y_400mf", "resnet50")], "resnet50"),
    ],
)
def test_auto_is_vgg19_on_a_gpu_else_compact_else_what_there_is(
    live: list[WorkerInfo], expected: str | None
) -> None:
    assert best(live) == expected
