"""Constant: an unknown constant of the physics, with bounds and a scale, learned in training."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_physreg._utils.errors import boolean, received
from keras_physreg._utils.names import check_name
from keras_physreg._utils.owners import owners, register_owner
from keras_physreg._utils.vectors import vector
from keras_physreg.constants.checks import (
    check_rate,
    check_scale,
    check_values,
    standardize_like,
)
from keras_physreg.constants.transforms import Transform

# Names that Keras and `PhysicsModel` use in the logs, or pass to callbacks.
RESERVED_NAMES = (
    *("loss", "data_loss", "physics_loss", "learning_rate", "lr"),
    *("batch", "size", "epoch"),
)
MAX_LOGGED_ELEMENTS = 8


@keras.saving.register_keras_serializable(package="keras_physreg")
class Constant(keras.layers.Layer):
    """An unknown constant of the physics, scalar or vector, that trains with the model.

    Make it an attribute of a physics `keras.layers.Layer`, and call it without arguments in that
    layer's `call`: `self.gain()` returns the value, in float32 or wider under any dtype policy. A
    constant that is called outside of a layer, or used by a physics function, does not train.

    In training `<name>` in the logs is the value at the start of the epoch's last step, and
    `val_<name>` the value at the end of the epoch. The elements of a vector are logged as
    `<name>_0`, `<name>_1` ...; a vector of more than 8 elements is not logged.
    `keras_physreg.get_constants` reads the present value. Two constants of one name raise an error
    in `PhysicsModel` and in all functions of this package; `fit` of a plain `keras.Model` logs
    only one of them.

    An uncertain prediction biases a constant. Example: a network predicts `x` from a noisy
    `z = 1.3 x + 0.2 + noise`, with the physics `gain * x_pred + offset - z`. The network learns
    the mean of `x` at a given `z`, and the gain converges to `1.3 / R^2`, where both losses are
    smallest (512 rows: 1.31 at a noise of 0.1 standard deviations of `x`, 1.48 at 0.5). If you
    have labels, let the constants learn from them, and the network from the constants: two terms
    of one output, `PhysicsTerm(..., at="labels")` and `PhysicsTerm(..., trains="network")`, as in
    the second example.

    A constant whose initial value is many `scale`s away from the truth needs many steps at the
    learning rate of a network. Give it a `rate` above 1. (A factor on the loss does not help:
    Adam cancels it.)

    The optimizer trains a dimensionless variable in place of the constant. The variable is 0 at
    the initial value and about 1 one `scale` away, so that a constant of 1e-9 learns as fast as one
    of 1. Weight decay therefore pulls the constant towards its *initial* value. A smooth map keeps
    the constant within its bounds at any learning rate: a sigmoid between two bounds, softplus for
    a single one. The constant never quite reaches a bound; very near to one its gradient almost
    vanishes, which `diagnose` reports. With `log=True` the map acts on the logarithm of the
    constant: use it if you know only the order of magnitude.

    Args:
        initial: Initial value, a number or a vector, in `unit`.
        low: Lower bound, below `initial`: a number, or of the shape of `initial`; `None` for none.
        high: Upper bound, above `initial`, likewise.
        log: Whether to learn the logarithm; the constant is then positive.
        unit: Unit of the constant, such as `"W/m2"`, shown in reports.
        scale: Change of the constant, in `unit`, per change of 1 of the variable: the first step of
            Adam moves the constant by `learning_rate * scale`. Default: the smaller of
            `abs(initial)` and the room between the bounds. The room is the distance `d` to a single
            bound, and `1 / (1 / d_low + 1 / d_high)` between two; with `log`, distances are those
            of the logarithm times `initial`. If `initial` is 0 and there are no bounds, the
            default is 1: give a scale.
        rate: Learning rate of the constant, as a multiple of the optimizer's: the update of any
            optimizer changes the constant `rate` times as much. A number above 0.
        name: Name in the logs and reports: letters, digits, `_`, `-` and `.`. Give one: the
            automatic names `constant`, `constant_1` ... count all constants created so far.
        **kwargs: `trainable` and other arguments of `keras.layers.Layer`.

    Raises:
        TypeError: If `initial`, a bound or `scale` is not a number or vector, or `log` not a bool.
        ValueError: If a number is not finite, the bounds are not in order or exclude `initial`, a
            number has no logarithm with `log`, `rate` is not above 0, or `dtype` is not floating.

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
    ...     def call(self, z, x):
    ...         residual = super().call(z, x)
    ...         return {"sensor": residual, "calibration": residual}
    >>> terms = [
    ...     kp.PhysicsTerm("sensor", trains="network"),
    ...     kp.PhysicsTerm("calibration", at="labels"),
    ... ]
    >>> model = kp.PhysicsModel(z, kp.PhysicsRegularization(Calibrated(), terms)(z, x))
    """

    def __init__(
        self,
        initial: float | Sequence[float],
        low: float | Sequence[float] | None = None,
        high: float | Sequence[float] | None = None,
        log: bool = False,
        unit: str | None = None,
        scale: float | Sequence[float] | None = None,
        rate: float = 1.0,
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
                + received("dtype", self.variable_dtype)
            )
        if unit is not None and not isinstance(unit, str):
            raise TypeError(
                f"`unit` of constant '{self.name}' must be a string. {received('unit', unit)}"
            )
        self.log, self.unit = boolean("log", log), unit
        self._initial = vector(f"constant '{self.name}'", "initial", initial)
        self._low = standardize_like(self.name, low, "low", self._initial)
        self._high = standardize_like(self.name, high, "high", self._initial)
        self._given_scale = standardize_like(self.name, scale, "scale", self._initial)
        check_values(self.name, self._initial, self._low, self._high, self.log, self.variable_dtype)
        check_scale(self.name, self._given_scale)
        self.rate = check_rate(self.name, rate)
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
        """The initial value in `unit`: a number, or a list for a vector."""
        return self._initial.tolist()

    @property
    def low(self) -> float | list[float] | None:
        """The lower bound in `unit`, or `None`."""
        return None if self._low is None else self._low.tolist()

    @property
    def high(self) -> float | list[float] | None:
        """The upper bound in `unit`, or `None`."""
        return None if self._high is None else self._high.tolist()

    @property
    def scale(self) -> float | list[float]:
        """Change of the constant, in `unit`, per change of 1 of its variable, at `initial`."""
        return self._transform.scale.tolist()

    @property
    def value(self) -> float | np.ndarray:
        """The present value in `unit`: a float, or a NumPy array for a vector."""
        value = keras.ops.convert_to_numpy(self())
        # The shortest decimal of a float32, as `str` gives it: 0.1, not 0.10000000149.
        return value if value.ndim else float(str(value))

    @property
    def raw(self) -> keras.Variable:
        """The dimensionless variable that trains."""
        return self._raw

    @property
    def log_names(self) -> list[str]:
        """The names of its elements in the logs; empty for a vector that is too long to log."""
        if not self._initial.ndim:
            return [self.name]
        count = len(self._initial)
        return [f"{self.name}_{k}" for k in range(count)] if count <= MAX_LOGGED_ELEMENTS else []

    def bound_shares(self) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Returns the distances to the lower and upper bound, as shares of the initial distances.

        Returns:
            Two arrays of the shape of `initial`: 0 at the bound, 1 at the initial value or farther
            away; `None` without a bound.
        """
        return self._transform.position(np.asarray(self.value, "float64"))

    def nearest_to_zero(self) -> np.ndarray:
        """Returns the variable at which the constant is as close to 0 as its bounds allow."""
        return self._transform.nearest_to_zero() / np.asarray(self.rate, self.variable_dtype)

    def __call__(self) -> Any:
        """Returns the value, a tensor of the shape of `initial`."""
        return self.call()

    def call(self) -> Any:
        """Returns the value, a tensor of the shape of `initial`."""
        raw = keras.ops.convert_to_tensor(self._raw)
        if self.rate != 1.0:  # `rate * raw`, but with the derivative 1 by `raw`.
            raw = raw + keras.ops.stop_gradient((self.rate - 1.0) * raw)
        return self._transform(raw)

    def get_config(self) -> dict[str, Any]:
        """Returns the configuration, without the trained value, which is a weight."""
        given = None if self._given_scale is None else self._given_scale.tolist()
        own = {"initial": self.initial, "low": self.low, "high": self.high, "log": self.log}
        return {**super().get_config(), **own, "unit": self.unit, "scale": given, "rate": self.rate}

    def save_own_variables(self, store: Any) -> None:
        """Stores the variable, and the value of the constant for a check when it is loaded."""
        store["raw"] = keras.ops.convert_to_numpy(self._raw)
        store["value"] = keras.ops.convert_to_numpy(self())

    def load_own_variables(self, store: Any) -> None:
        """Loads the variable; raises if it would give another value than the stored one."""
        before = keras.ops.convert_to_numpy(self._raw)
        raw, value = np.asarray(store["raw"]), np.asarray(store["value"], "float64")
        if raw.shape == before.shape:
            self._raw.assign(raw)
            now = np.asarray(self.value, "float64")
            if np.allclose(now, value, rtol=1e-5, atol=1e-5 * np.min(self.scale), equal_nan=True):
                return
            self._raw.assign(before)
        raise ValueError(
            f"The file holds constant '{self.name}' with another initial value, bounds, log, "
            f"scale or rate: its value was {value}, and its variable {raw} would give another "
            "value here. Build the constant with the arguments it was saved with, or train it "
            "again."
        )


def find_constants(layer: keras.layers.Layer) -> list[Constant]:
    """Returns the constants of a layer or model, at any depth of nesting, each once."""
    return owners(layer, Constant)
