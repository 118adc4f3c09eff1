"""What can go wrong in the engine, one class a cause."""

from collections.abc import Sequence


class EngineError(Exception):
    """Anything the engine refuses or gives up on."""


class BackboneUnavailableError(EngineError):
    """The backbone is unknown, or its weights are not on this machine."""


class WeightsCorruptError(EngineError):
    """A weights file is not the one it claims to be, or does not hold this network."""


class DeviceUnavailableError(EngineError):
    """The device asked for is not there, or cannot compute in the precision asked for."""


class DeviceLostError(EngineError):
    """The device has failed. Nothing more can be computed on it by this process; another may."""


class DivergedError(EngineError):
    """The optimisation met values that are not numbers, or rose without end, more often than it may."""


class CheckpointError(EngineError, ValueError):
    """A checkpoint is damaged, or belongs to another spec."""


class UnknownLayerError(EngineError, ValueError):
    """A spec names layers that the network does not have.

    Attributes:
        layers: their names.
    """

    def __init__(self, layers: Sequence[str], instead: Sequence[str]) -> None:
        super().__init__(f"no layer {', '.join(layers)} here; there are {', '.join(instead)}")
        self.layers = tuple(layers)
