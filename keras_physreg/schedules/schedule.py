"""What all schedules share: the kinds of time they take, and their configuration."""

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

    The time comes in any of three kinds, and the weight comes back in the same kind, so that
    `schedule(3)` can be printed, `schedule(np.arange(100))` plotted, and
    `schedule(optimizer.iterations)` compiled:

    | time | weight | computed in |
    | --- | --- | --- |
    | Python or NumPy number | `float` | float64 |
    | NumPy array, list or tuple | array of its shape | float64 |
    | tensor or `keras.Variable` | tensor of its shape | float32 |

    The three agree to 1e-5 relative (ramps over more than 20 decades: 3e-5). Inside a compiled
    graph, pass the time as a tensor: a Python number gives a constant there. Integer tensors are
    exact at any count of steps; float32 ones are already rounded by their owner above 2**24.

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
        """Returns the constructor's arguments, in types that JSON knows."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Schedule":
        """Rebuilds the schedule from `get_config()`."""
        return cls(**config)

    def _set(self, **values: Any) -> None:
        """Puts checked values into a frozen dataclass."""
        for name, value in values.items():
            object.__setattr__(self, name, value)


def namespace(time: Any) -> Any:
    """NumPy for arrays, `keras.ops` for tensors: one formula serves both."""
    return np if isinstance(time, ARRAYS) else ops


def shift(time: Any, moment: int | float) -> Any:
    """Returns `time - moment`; integers stay integers, so that large counts stay exact."""
    if isinstance(time, ARRAYS) or not _is_integer(time):
        return time - moment
    whole = math.floor(moment)
    passed = time - whole
    return passed if moment == whole else as_float(passed) - (moment - whole)


def as_float(time: Any) -> Any:
    """Rounds a tensor to float32; arrays are float64 already."""
    return time if isinstance(time, ARRAYS) else ops.cast(time, "float32")


def _as_array(time: Any) -> np.ndarray:
    """A float64 array of a number, or of an array, list or tuple of them."""
    try:
        array = np.asarray(time)
        # Python numbers that NumPy does not know, such as fractions, are objects.
        if array.dtype.kind not in "iuf" and not isinstance(time, numbers.Real):
            raise TypeError
        return array.astype("float64")
    except (TypeError, ValueError, OverflowError) as error:
        raise TypeError(
            f"Time must be a number, array or tensor. {received('time', time)}"
        ) from error


def _is_integer(tensor: Any) -> bool:
    return "int" in backend.standardize_dtype(tensor.dtype)


def _as_tensor(time: Any) -> Any:
    """A tensor wide enough to subtract moments from: int64 (int32 on JAX), float32 or float64."""
    try:
        tensor = ops.convert_to_tensor(time)
        dtype = backend.standardize_dtype(tensor.dtype)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"Time must be a number, array or tensor. {received('time', time)}"
        ) from error
    if "int" in dtype:
        return ops.cast(tensor, backend.standardize_dtype("int"))
    if "float" not in dtype:
        raise TypeError(f"Time must be a number, not of dtype {dtype}. {received('time', time)}")
    return tensor if dtype == "float64" else ops.cast(tensor, "float32")
