"""The factor of unlabelled rows in terms that need no label."""

from typing import Any

import keras


class UnlabelledShare:
    """The share as a variable that compiled steps read, and that is no weight of the model.

    A weight of the model would change its files.
    """

    def __init__(self) -> None:
        self._variable = keras.Variable(1.0, trainable=False, dtype="float32", name="share")
        self._is_set = False

    @property
    def value(self) -> Any:
        """The variable, or `None` if label-free terms are means over all rows."""
        return self._variable if self._is_set else None

    def set(self, share: float | None) -> bool:
        """Sets the share.

        Returns:
            Whether the steps must be traced again: with and without a share their formula differs.
        """
        was_set, self._is_set = self._is_set, share is not None
        if share is not None:
            self._variable.assign(share)
        return was_set != self._is_set
