"""What unlabelled rows count in the terms that need no label."""

from typing import Any

import keras


class UnlabelledShare:
    """A share that compiled steps follow, as a variable that Keras does not see in the model.

    A weight of the model would change what its files hold.
    """

    def __init__(self) -> None:
        self._variable = keras.Variable(1.0, trainable=False, dtype="float32", name="share")
        self._is_set = False

    @property
    def value(self) -> Any:
        """The variable, or `None` where every row counts alike."""
        return self._variable if self._is_set else None

    def set(self, share: float | None) -> bool:
        """Sets the share; returns whether steps must be traced anew, for another formula."""
        was_set, self._is_set = self._is_set, share is not None
        if share is not None:
            self._variable.assign(share)
        return was_set != self._is_set
