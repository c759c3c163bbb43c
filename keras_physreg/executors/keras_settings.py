"""KerasSettings: settings of Keras that hold for a whole process."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import keras


@dataclass(frozen=True)
class KerasSettings:
    """Settings of Keras that hold for a whole process, and decide how models are built.

    Args:
        floatx: The default float type.
        dtype_policy: Name of the default policy.
        image_data_format: The default order of the axes of images.
    """

    floatx: str
    dtype_policy: str
    image_data_format: str

    @classmethod
    def of_process(cls) -> KerasSettings:
        """Returns the settings of this process."""
        config = keras.config
        return cls(config.floatx(), config.dtype_policy().name, config.image_data_format())

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Makes these the settings of this process during the block."""
        own = self.of_process()
        try:
            self._set()
            yield
        finally:
            own._set()

    def _set(self) -> None:
        keras.config.set_floatx(self.floatx)
        keras.config.set_dtype_policy(self.dtype_policy)
        keras.config.set_image_data_format(self.image_data_format)
