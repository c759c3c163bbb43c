"""The devices on which programs run: every visible GPU, or else the cores of the CPU."""

from __future__ import annotations

from typing import Any

import keras

from keras_physreg._utils.backend import tensorflow as tf


def devices() -> list[str]:
    """Returns the names of the visible GPUs, each of which runs one program; often none."""
    return [device.name for device in tf.config.list_logical_devices("GPU")]


def shown(device: str) -> str:
    """Returns the name of a device as people write it, such as `"GPU:0"`."""
    return device.rsplit("device:", maxsplit=1)[-1]


class OnDevice:
    """Copies tensors to a device, each of them once.

    Args:
        device: Name of the device; `None` leaves tensors where they are.
    """

    def __init__(self, device: str | None) -> None:
        self.device = device
        # The originals are kept, too: another tensor could get the identity of one that is gone.
        self._copies: dict[int, tuple[Any, Any]] = {}

    def __call__(self, structure: Any) -> Any:
        """Returns a structure of tensors and `None` on the device."""
        if self.device is None:
            return structure
        return keras.tree.map_structure(self._copy, structure)

    def _copy(self, tensor: Any) -> Any:
        if tensor is None:
            return None
        if id(tensor) not in self._copies:
            with tf.device(self.device):
                self._copies[id(tensor)] = (tensor, tf.identity(tensor))
        return self._copies[id(tensor)][1]
