"""Constant: an unknown number of the physics, bounded, learned in a scale that suits it."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_physreg._utils.errors import boolean, received
from keras_physreg._utils.names import check_name
from keras_physreg._utils.owners import owners, register_owner
from keras_physreg.constants.checks import (
    check_scale,
    check_values,
    standardize_floats,
    standardize_like,
)
from keras_physreg.constants.transforms import Transform

# What Keras and `PhysicsModel` log, or callbacks count, themselves.
RESERVED_NAMES = (
    *("loss", "data_loss", "physics_loss", "learning_rate", "lr"),
    *("batch", "size", "epoch"),
)
MAX_LOGGED_ELEMENTS = 8


@keras.saving.register_keras_serializable(package="keras_physreg")
class Constant(keras.layers.Layer):
    """An unknown constant of the physics, scalar or vector, that trains with the model.

    Give it to an attribute of a physics `keras.layers.Layer`, and call it without arguments in
    that layer's `call`: `self.gain()` is the value, in float32 at least whatever the dtype policy.
    Its value is logged under its name while the model trains (a vector as `<name>_0`, `<name>_1`
    ...; of more than 8 elements not at all), as it was at the start of the last step, and as
    `val_<name>` at the end of the epoch. `keras_physreg.get_constants` reads it. A constant that
    is called outside of a layer, or held by a physics function, does not train. Constants of one
    name are an error in a `PhysicsModel`, and in all functions of this package; `fit` of a plain
    `keras.Model` alone would log one of them only.

    Beside a prediction that is uncertain, a constant is biased. Let a network predict `x` from a
    noisy `z = 1.3 x + 0.2 + noise`, with the physics `gain * x_pred + offset - z`: it learns the
    mean of `x` at a given `z`, and the gain goes to `1.3 / R^2`, where both losses are least (512
    rows: 1.31 and 1.48 at noise of 0.1 and 0.5 standard deviations of `x`). So let constants learn
    from labels, where there are some: give the label to the physics in an `Input` of its own, and
    return one term with the label in the place of the prediction beside one in which
    `keras.ops.stop_gradient` is around the constants. This is the second example.

    The optimizer does not see the constant but a dimensionless variable that is 0 at the initial
    value, and 1 about one `scale` away from it: a constant of 1e-9 learns as fast as one of 1.
    Weight decay of the optimizer therefore pulls towards the *initial* value. Bounds hold at any
    learning rate, as the variable is mapped into them: smoothly by a sigmoid between two bounds,
    by softplus beside one. (They are never quite reached, and a constant that was thrown against
    one hardly gets a gradient any more: `diagnose` says so.) With `log=True` it is the logarithm
    that is learned so: for a constant known to an order of magnitude.

    Args:
        initial: Value to start from, a number or a vector, in `unit`.
        low: Bound below `initial`, a number or of the shape of `initial`; `None` for none.
        high: Bound above `initial`, likewise.
        log: Whether to learn the logarithm; the constant is then positive.
        unit: Unit of the constant, such as `"W/m2"`, shown in reports.
        scale: By how much the constant moves, in `unit`, as the variable moves by 1: the first
            step of Adam moves it by `learning_rate * scale`. By default the smaller of its size
            and its room: of `abs(initial)` (where it is not 0, or with `log`), and of the distance
            `d` to a single bound, or `1 / (1 / d_low + 1 / d_high)` between two; 1 where it has
            neither. So give it where `initial` is 0 and there are no bounds.
        name: Name in the logs and reports: letters, digits, `_`, `-` and `.`. Give one: automatic
            names, `constant`, `constant_1` ..., count all that were ever made.
        **kwargs: `trainable` and other arguments of `keras.layers.Layer`.

    Raises:
        TypeError: If an argument is no number, or `log` no bool.
        ValueError: If a number is not finite, the bounds are not in order or exclude `initial`,
            `log` meets a number that has no logarithm, or `dtype` is not floating.

    Example:
    >>> import keras, keras_physreg as kp
    >>> class Sensor(keras.layers.Layer):
    ...     def __init__(self, **kwargs):
    ...         super().__init__(**kwargs)
    ...         self.gain = kp.Constant(1.0, low=0.5, high=2.0, name="gain")
    ...         self.offset = kp.Constant(0.0, scale=0.1, unit="V", name="offset")
    ...     def call(self, z, x):
    ...         return self.gain() * x + self.offset() - z
    >>> z = keras.Input((1,))
    >>> x = keras.layers.Dense(1)(z)
    >>> model = kp.PhysicsModel(z, kp.PhysicsRegularization(Sensor(), {"sensor": 1.0})(z, x))
    >>> kp.get_constants(model)
    {'gain': 1.0, 'offset': 0.0}

    >>> class Calibrated(Sensor):
    ...     def call(self, inputs, x):
    ...         gain, offset = self.gain(), self.offset()
    ...         at_label = gain * inputs["label"] + offset - inputs["z"]
    ...         gain, offset = map(keras.ops.stop_gradient, (gain, offset))
    ...         return {"sensor": gain * x + offset - inputs["z"], "calibration": at_label}
    >>> inputs = {name: keras.Input((1,), name=name) for name in ("z", "label")}
    >>> x = keras.layers.Dense(1)(inputs["z"])
    >>> terms = {"sensor": 1.0, "calibration": 1.0}
    >>> model = kp.PhysicsModel(inputs, kp.PhysicsRegularization(Calibrated(), terms)(inputs, x))
    >>> [tensor.name for tensor in kp.strip_physics(model).inputs]
    ['z']
    """

    def __init__(
        self,
        initial: float | Sequence[float],
        low: float | Sequence[float] | None = None,
        high: float | Sequence[float] | None = None,
        log: bool = False,
        unit: str | None = None,
        scale: float | Sequence[float] | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, autocast=False, **kwargs)
        if self.compute_dtype in ("float16", "bfloat16"):
            self.dtype_policy = "float32"
        check_name("a constant", self.name, RESERVED_NAMES)
        if not keras.backend.is_float_dtype(self.variable_dtype):
            raise ValueError(
                f"`dtype` of constant '{self.name}' must be floating: integers do not train. "
                f"Received: dtype='{self.variable_dtype}'"
            )
        if unit is not None and not isinstance(unit, str):
            raise TypeError(
                f"`unit` of constant '{self.name}' must be a string. {received('unit', unit)}"
            )
        self.log, self.unit = boolean("log", log), unit
        self._initial = standardize_floats(self.name, initial, "initial")
        self._low = standardize_like(self.name, low, "low", self._initial)
        self._high = standardize_like(self.name, high, "high", self._initial)
        self._given_scale = standardize_like(self.name, scale, "scale", self._initial)
        check_values(self.name, self._initial, self._low, self._high, self.log, self.variable_dtype)
        check_scale(self.name, self._given_scale)
        self._transform = Transform(
            self._initial, self._low, self._high, self.log, self._given_scale, self.variable_dtype
        )
        self._raw = self.add_weight(
            name="raw", shape=self._initial.shape, initializer="zeros", autocast=False
        )
        register_owner(self._raw, self)
        self.built = True

    @property
    def initial(self) -> float | list[float]:
        """The value to start from."""
        return self._initial.tolist()

    @property
    def low(self) -> float | list[float] | None:
        """The lower bound, or `None`."""
        return None if self._low is None else self._low.tolist()

    @property
    def high(self) -> float | list[float] | None:
        """The upper bound, or `None`."""
        return None if self._high is None else self._high.tolist()

    @property
    def scale(self) -> float | list[float]:
        """By how much the constant moves, at the initial value, as its variable moves by 1."""
        return self._transform.scale.tolist()

    @property
    def value(self) -> float | np.ndarray:
        """The present value in `unit`: a float, or an array of a vector."""
        value = keras.ops.convert_to_numpy(self())
        # The shortest decimal of a float32: 0.1, not 0.10000000149.
        return value if value.ndim else float(str(value))

    @property
    def raw(self) -> keras.Variable:
        """The dimensionless variable that trains."""
        return self._raw

    @property
    def log_names(self) -> list[str]:
        """The names of its elements in the logs; none of a vector too long to be logged."""
        if not self._initial.ndim:
            return [self.name]
        count = len(self._initial)
        return [f"{self.name}_{k}" for k in range(count)] if count <= MAX_LOGGED_ELEMENTS else []

    def bound_shares(self) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Returns the distance to each bound, of its own at the start; `None` without a bound."""
        return self._transform.position(np.asarray(self.value, "float64"))

    def nearest_to_zero(self) -> np.ndarray:
        """Returns the variable at which the constant is as near to 0 as its bounds let it."""
        return self._transform.nearest_to_zero()

    def __call__(self) -> Any:
        """Returns the value, a tensor of the shape of `initial`."""
        return self.call()

    def call(self) -> Any:
        """Returns the value, a tensor of the shape of `initial`."""
        return self._transform(keras.ops.convert_to_tensor(self._raw))

    def get_config(self) -> dict[str, Any]:
        """Returns the configuration; the trained value is among the weights."""
        given = None if self._given_scale is None else self._given_scale.tolist()
        own = {"initial": self.initial, "low": self.low, "high": self.high, "log": self.log}
        return {**super().get_config(), **own, "unit": self.unit, "scale": given}

    def save_own_variables(self, store: Any) -> None:
        """Stores the variable, and the value that it stands for."""
        store["raw"] = keras.ops.convert_to_numpy(self._raw)
        store["value"] = keras.ops.convert_to_numpy(self())

    def load_own_variables(self, store: Any) -> None:
        """Loads the variable; raises where it would stand for another value than it did."""
        before = keras.ops.convert_to_numpy(self._raw)
        raw, value = np.asarray(store["raw"]), np.asarray(store["value"], "float64")
        if raw.shape == before.shape:
            self._raw.assign(raw)
            now = np.asarray(self.value, "float64")
            if np.allclose(now, value, rtol=1e-5, atol=1e-5 * np.min(self.scale), equal_nan=True):
                return
            self._raw.assign(before)
        raise ValueError(
            f"The file holds constant '{self.name}' under another initial value, bounds, log or "
            f"scale: there it is {value}, here its variable {raw} would mean something else. Build "
            "the constant as it was, or train it again."
        )


def find_constants(layer: keras.layers.Layer) -> list[Constant]:
    """Returns the constants of a layer or model, however deep they are nested, each once."""
    return owners(layer, Constant)
