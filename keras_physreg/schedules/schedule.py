"""Schedule: the base class of schedules, with the types of time they take."""

import math
import numbers
from dataclasses import fields
from typing import Any

import numpy as np
from keras import backend, ops

from keras_physreg._utils.errors import received

ARRAYS = (np.ndarray, np.generic)


class Schedule:
    """A weight as a pure function of time.

    The weight has the type of the time. You can print `schedule(3)`, plot
    `schedule(np.arange(100))`, and compile `schedule(optimizer.iterations)`:

    | time | weight | computed in |
    | --- | --- | --- |
    | Python or NumPy number | `float` | float64 |
    | NumPy array, list or tuple | array of the same shape | float64 |
    | tensor or `keras.Variable` | tensor of the same shape | float32 |

    The three agree to a relative error of 1e-5 (3e-5 for ramps over more than 20 decades). Inside
    a compiled graph, pass the time as a tensor: a Python number becomes a constant there. Integer
    tensors are exact at any number of steps; float32 cannot represent every step above 2**24.

    Subclasses are frozen dataclasses that define `at(time)`.
    """

    def __call__(self, time: Any) -> Any:
        """Returns the weight at `time`."""
        if isinstance(time, numbers.Real) and not isinstance(time, bool):
            return float(self.at(_as_array(time)))
        if isinstance(time, (*ARRAYS, list, tuple)):
            return self.at(_as_array(time))
        return self.at(_as_tensor(time))

    def at(self, time: Any) -> Any:
        """Returns the weight at a float64 array, or at an integer or float tensor."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments in JSON types."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Schedule":
        """Rebuilds the schedule from `get_config()`."""
        return cls(**config)

    def _set(self, **values: Any) -> None:
        """Sets checked values in a frozen dataclass."""
        for name, value in values.items():
            object.__setattr__(self, name, value)


def namespace(time: Any) -> Any:
    """Returns NumPy for arrays and `keras.ops` for tensors, so that one formula serves both."""
    return np if isinstance(time, ARRAYS) else ops


def shift(time: Any, moment: int | float) -> Any:
    """Returns `time - moment`; integers stay integers, so that large ones stay exact."""
    if isinstance(time, ARRAYS) or not _is_integer(time):
        return time - moment
    whole = math.floor(moment)
    passed = time - whole
    return passed if moment == whole else as_float(passed) - (moment - whole)


def as_float(time: Any) -> Any:
    """Returns a tensor as float32, and an array unchanged in float64."""
    return time if isinstance(time, ARRAYS) else ops.cast(time, "float32")


def _as_array(time: Any) -> np.ndarray:
    """Returns a float64 array of a number, or of an array, list or tuple of numbers."""
    try:
        array = np.asarray(time)
        # NumPy stores Python numbers that it does not know, such as fractions, as objects.
        if array.dtype.kind not in "iuf" and not isinstance(time, numbers.Real):
            raise TypeError
        return array.astype("float64")
    except (TypeError, ValueError, OverflowError) as error:
        raise TypeError(
            f"`time` must be a number, array or tensor. {received('time', time)}"
        ) from error


def _is_integer(tensor: Any) -> bool:
    return "int" in backend.standardize_dtype(tensor.dtype)


def _as_tensor(time: Any) -> Any:
    """Returns a tensor of int64 (int32 on JAX), float32 or float64."""
    try:
        tensor = ops.convert_to_tensor(time)
        dtype = backend.standardize_dtype(tensor.dtype)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"`time` must be a number, array or tensor. {received('time', time)}"
        ) from error
    if "int" in dtype:
        return ops.cast(tensor, backend.standardize_dtype("int"))
    if "float" not in dtype:
        raise TypeError(f"`time` must be a number, not of dtype {dtype}. {received('time', time)}")
    return tensor if dtype == "float64" else ops.cast(tensor, "float32")
