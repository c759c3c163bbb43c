"""Derivatives: the layer that returns the output of a network with its partial derivatives."""

import warnings
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_physreg._utils.errors import received
from keras_physreg.derivatives import tapes
from keras_physreg.derivatives.columns import check_structure, columns_of, jets_of, with_columns
from keras_physreg.derivatives.jet import Jet
from keras_physreg.derivatives.multi_index import (
    canonical,
    check_derivatives,
    check_inputs,
    check_output,
)
from keras_physreg.derivatives.network_inputs import check_network_inputs, in_order_of
from keras_physreg.derivatives.row_coupling import depends_on_other_rows, layers_over_rows
from keras_physreg.derivatives.taylor import Taylor
from keras_physreg.layers.build_physics import compute_in_float32, symbolic


@keras.saving.register_keras_serializable(package="keras_physreg")
class Derivatives(keras.layers.Layer):
    """Layer that calls a network and returns its output with partial derivatives by its inputs.

    The network computes each row from this row alone: batch normalisation in training mode, or
    attention over the batch, is an error. Where the network is a `keras.Sequential` or functional
    model of layers with rules, derivatives are computed in one forward pass by Taylor arithmetic.
    The rules cover `Dense`, `Activation`, `Add`, `Subtract`, `Average`, `Multiply`, `Concatenate`,
    `Rescaling`, `Normalization`, `Identity`, `Dropout` in inference, arithmetic and slices of
    columns, with the activations tanh, sigmoid, sin, cos, exp, softplus, silu, gelu, elu and relu.
    Any other network is differentiated as a whole, by nested gradient tapes (on JAX by nested
    forward mode).

    The result is in float32, or in float64 if the network has float64 weights. A network whose
    dtype policy asks for 16 bits computes in float32 from then on. Where a model is compiled, as in
    `fit` and `predict`, derivatives that no output or loss uses are not computed.
    `strip_physics` replaces the layer by its network.

    Get all derivatives of a network, and its output, from one layer, and call this layer again for
    other points: Keras cannot load a saved model that holds a network in two places.

    Args:
        network: Keras layer or model: from a tensor `(batch, len(inputs))`, or from a dict of
            tensors `(batch, 1)`, to a tensor `(batch, components)`.
        derivatives: List of derivatives as strings of input names, of order 1 to 4: "xxt" is the
            third derivative, twice by "x" and once by "t".
        inputs: Names of the inputs, single letters: of all columns of the tensor in their order,
            or of entries of the dict. Other entries of the dict are passed to the network.
        output: Name of the network's output.
        **kwargs: `name` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: Tensor `(batch, len(inputs))`, or a dict of tensors.

    Returns:
        A dict: the output by its name, and each derivative as `<output>_<derivative>`, all of
        shape `(batch, components)`.

    Raises:
        TypeError: If `network` is no Keras layer, or a list is no list.
        ValueError: If a name or derivative is not valid, or the network does not fit the inputs.

    Example, Burgers' equation `u_t + u u_x = 0.01 u_xx`:
    >>> import keras, numpy as np, keras_physreg as kp
    >>> def burgers(z, u):
    ...     return {"pde": u["u_t"] + u["u"] * u["u_x"] - 0.01 * u["u_xx"]}
    >>> network = keras.Sequential(
    ...     [keras.Input((2,)), keras.layers.Dense(8, "tanh"), keras.layers.Dense(1)])
    >>> z = keras.Input((2,))
    >>> u = kp.Derivatives(network, ["x", "t", "xx"], inputs=["x", "t"], output="u")(z)
    >>> u = kp.PhysicsRegularization(burgers, {"pde": 1.0})(z, u)
    >>> model = kp.PhysicsModel(z, u["u"])
    >>> model.compile("adam", "mse")
    >>> x, t = np.random.default_rng(0).uniform(-1, 1, size=(2, 64))
    >>> points = np.stack([x, np.zeros(64)], axis=-1)
    >>> history = model.fit(points, -np.sin(np.pi * x), verbose=0)
    >>> sorted(history.history)
    ['data_loss', 'loss', 'pde_loss', 'physics_loss']
    """

    def __init__(
        self,
        network: keras.layers.Layer,
        derivatives: Sequence[str],
        inputs: Sequence[str],
        output: str = "u",
        **kwargs: Any,
    ) -> None:
        # Without autocast the inputs keep their dtype under any policy.
        super().__init__(autocast=False, **kwargs)
        if not isinstance(network, keras.layers.Layer):
            what = "an instance and not its class. " if isinstance(network, type) else ""
            raise TypeError(
                f"`network` must be a Keras layer or model. {what}{received('network', network)}"
            )
        self.network = network
        compute_in_float32(self)
        self.input_letters = check_inputs(inputs)
        self.derivatives = check_derivatives(derivatives, self.input_letters)
        self.output_key = check_output(output)
        self._taylor: Taylor | None = None
        self._coupling_modes: frozenset[bool] = frozenset()
        self._has_warned = False

    @property
    def output_keys(self) -> list[str]:
        """The keys of the result: that of the output, then those of the derivatives."""
        return [self.output_key, *(f"{self.output_key}_{index}" for index in self.derivatives)]

    @property
    def uses_rules(self) -> bool:
        """Whether the built layer computes derivatives by rules; else it differentiates as a whole.

        In training mode a network with `Dropout` is differentiated as a whole.
        """
        return self._taylor is not None

    def build(self, inputs_shape: Any) -> None:
        """Builds the network and prepares its differentiation."""
        shapes = symbolic(inputs_shape)
        check_structure(shapes, self.input_letters, self.name)
        check_network_inputs(self.network, shapes, self.name)
        if not self.network.built:
            self.network(shapes)
        compute_in_float32(self.network)
        self._check_output(self.network.compute_output_spec(shapes))
        self._taylor = Taylor.of(self.network)
        self._coupling_modes = frozenset(
            training
            for training in (False, True)
            if depends_on_other_rows(self.network, inputs_shape, training)
        )
        self._check_rows(False)

    def compute_output_spec(self, inputs: Any, training: bool | None = None) -> dict[str, Any]:
        """Returns the specs of the result; no derivatives are computed."""
        del training
        check_structure(inputs, self.input_letters, self.name)
        shape = self.network.compute_output_spec(inputs).shape
        return {key: keras.KerasTensor(shape, dtype=self._dtype()) for key in self.output_keys}

    def call(self, inputs: Any, training: bool | None = None) -> dict[str, Any]:
        """Returns the output of the network and its derivatives."""
        check_structure(inputs, self.input_letters, self.name)
        self._check_rows(bool(training))
        inputs = self._cast(inputs)
        if self._taylor is not None and self._taylor.has_rules(bool(training)):
            jets = jets_of(inputs, self.input_letters, self.derivatives)
            jet = self._taylor.run(in_order_of(self.network, jets))
            self._warn_of_zeros(jet)
            values = [jet.value, *map(jet.derivative, self.derivatives)]
        else:
            found = self._by_tapes(inputs, training)
            values = [found[canonical(index)] for index in ("", *self.derivatives)]
        return dict(zip(self.output_keys, values, strict=True))

    def get_config(self) -> dict[str, Any]:
        """Returns the configuration, with that of the network."""
        return {
            **super().get_config(),
            "network": keras.saving.serialize_keras_object(self.network),
            "derivatives": list(self.derivatives),
            "inputs": list(self.input_letters),
            "output": self.output_key,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Derivatives":
        """Rebuilds the layer from its configuration."""
        config = dict(config)
        network = keras.saving.deserialize_keras_object(config.pop("network"))
        return cls(network, **config)

    def _by_tapes(self, inputs: Any, training: bool | None) -> dict[str, Any]:
        if keras.backend.backend() == "jax" and training and self.network.non_trainable_variables:
            raise NotImplementedError(
                f"Derivatives layer '{self.name}': on JAX, a network with random layers or other "
                "state, differentiated as a whole, cannot be called in training mode. Leave out "
                "`Dropout` and the like, or use the TensorFlow backend."
            )
        used = sorted(set("".join(self.derivatives)))
        columns = columns_of(inputs, self.input_letters)

        def network(changed: dict[str, Any]) -> Any:
            together = with_columns(inputs, {**columns, **changed}, self.input_letters)
            return ops.cast(self.network(together, training=training), self._dtype())

        by_used = {name: columns[name] for name in used}
        return tapes.derivatives(network, by_used, self.derivatives, self.name)

    def _warn_of_zeros(self, jet: Jet) -> None:
        zero = [i for i in self.derivatives if canonical(i) not in jet.coefficients]
        if not zero or self._has_warned:
            return
        self._has_warned = True
        warnings.warn(
            f"Derivatives layer '{self.name}': the derivatives {zero} are 0 for all weights: the "
            "network does not use these inputs, or is a piecewise polynomial of lower degree in "
            "them, as with 'relu' or without activations. Use a smooth activation, such as 'tanh'.",
            stacklevel=2,
        )

    def _dtype(self) -> str:
        dtypes = [variable.dtype for variable in self.network.variables]
        floats = [dtype for dtype in dtypes if keras.backend.is_float_dtype(dtype)]
        return keras.backend.result_type("float32", *floats)

    def _cast(self, inputs: Any) -> Any:
        def cast(key: str, value: Any) -> Any:
            is_float = keras.backend.is_float_dtype(keras.backend.standardize_dtype(value.dtype))
            return ops.cast(value, dtype) if is_float or key in self.input_letters else value

        dtype = self._dtype()
        if isinstance(inputs, dict):
            return {key: cast(key, value) for key, value in inputs.items()}
        return ops.cast(inputs, dtype)

    def _check_output(self, spec: Any) -> None:
        if not isinstance(spec, keras.KerasTensor) or len(spec.shape) != 2 or spec.shape[1] is None:
            shapes = keras.tree.map_structure(lambda t: tuple(t.shape), spec)
            raise ValueError(
                f"Derivatives layer '{self.name}': the network must return one tensor of shape "
                "(batch, components). Join several outputs with `keras.layers.Concatenate`. "
                f"Received: outputs of shape {shapes}"
            )

    def _check_rows(self, training: bool) -> None:
        if training not in self._coupling_modes:
            return
        layers = layers_over_rows(self.network)
        mode = "training" if training else "inference"
        raise ValueError(
            f"Derivatives layer '{self.name}' needs a network that computes each row from this "
            f"row alone, but in {mode} mode the output of '{self.network.name}' for a row changes "
            f"with other rows{': by ' + ', '.join(layers) if layers else ''}. Replace what mixes "
            "rows: `BatchNormalization` by `LayerNormalization`, attention or means over the batch "
            "by those over the features of a row."
        )
