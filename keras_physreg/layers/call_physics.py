"""Calls the user's physics in float32, with shielded gradients, and checks its outputs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
from keras import ops

from keras_physreg._utils.errors import did_you_mean
from keras_physreg._utils.serialization import display_name
from keras_physreg._utils.user_errors import explained
from keras_physreg.layers.build_physics import is_built
from keras_physreg.layers.shield import inside_physics, shield
from keras_physreg.terms.on_rows import OnRows
from keras_physreg.terms.row_weights import as_weights, check_of_batch, fitted


@dataclass
class Outputs:
    """Outputs of the physics.

    Args:
        values: A tensor per term.
        where: Weights of these values, by term, for terms that do not count all.
        constants: Trainable variables of the physics as they were read, by identity.
    """

    values: dict[str, Any] = field(default_factory=dict)
    where: dict[str, list[Any]] = field(default_factory=dict)
    constants: dict[int, Any] = field(default_factory=dict)


def at_full_precision(structure: Any) -> Any:
    """Casts the floating tensors of a structure to one dtype: float32, or float64 if one has it.

    A tensor that already has this dtype is returned unchanged: physics that differentiates the
    prediction by the input needs the same tensor that the prediction was computed from.
    """
    floats = [dtype for dtype in map(_dtype, keras.tree.flatten(structure)) if _is_float(dtype)]
    wanted = keras.backend.result_type("float32", *floats)

    def cast(value: Any) -> Any:
        if value is None or not _is_float(_dtype(value)) or _dtype(value) == wanted:
            return value
        return ops.cast(value, wanted)

    return keras.tree.map_structure(cast, structure)


def call_physics(
    physics: Any,
    inputs: Any,
    prediction: Any,
    names: Sequence[str],
    layer: str,
    active: Any,
    guard: Callable[[keras.Variable, Any], Any] | None = None,
    constants: dict[int, Any] | None = None,
) -> Outputs:
    """Calls the physics and returns its outputs by term name.

    Args:
        physics: Function or Keras layer `(inputs, prediction) -> outputs`.
        inputs: Tensor or structure, as passed to the layer.
        prediction: Tensor or structure.
        names: Names of the terms, in order.
        layer: Name of the physics layer, for messages.
        active: Scalar boolean tensor: whether any weight is above 0.
        guard: Function from a trainable variable of the physics and its value to the value that
            the physics gets, such as one that stops the gradient.
        constants: Trainable variables of the physics that were read before in this call of the
            layer, by identity; those that this call reads are added.

    Returns:
        Floating tensors, of float32 or wider, by term.

    Raises:
        TypeError: If the physics returns nothing, or an output that is not a floating tensor.
        ValueError: If the outputs do not match the terms.
    """
    where = f"The physics `{display_name(physics)}` of layer '{layer}'"
    inputs, prediction = at_full_precision((inputs, prediction))
    prediction = keras.tree.map_structure(lambda t: shield(t, active), prediction)
    try:
        with inside_physics():
            outputs = _run(physics, inputs, prediction, active, guard, constants)
    except Exception as error:
        raise explained(error, physics, where, names) from error
    return _named(outputs, names, where)


def call_unshielded(
    physics: Any, inputs: Any, prediction: Any, names: Sequence[str]
) -> dict[str, Any]:
    """Calls the physics without a shield, and returns its outputs by term name."""
    inputs, prediction = at_full_precision((inputs, prediction))
    outputs = physics(inputs, prediction)
    return _named(outputs, names, f"The physics `{display_name(physics)}`").values


def _named(outputs: Any, names: Sequence[str], where: str) -> Outputs:
    named, found = _by_name(outputs, names, where), Outputs()
    for name in names:
        output = named[name]
        values = output.values if isinstance(output, OnRows) else output
        found.values[name] = _checked(values, name, where)
        if isinstance(output, OnRows):
            what = f"The `where` of `on_rows` for physics term '{name}'"
            weights = as_weights(output.where, what)
            check_of_batch(weights, found.values[name], what)
            found.where[name] = [fitted(weights, found.values[name], what)]
    return found


def _run(
    physics: Any,
    inputs: Any,
    prediction: Any,
    active: Any,
    guard: Callable | None,
    constants: dict[int, Any] | None,
) -> Any:
    if not isinstance(physics, keras.Layer) or not is_built(physics):
        return physics(inputs, prediction)
    values = [(v, _read(v, constants)) for v in physics.variables]
    return _run_layer(physics, inputs, prediction, active, guard, values)


def _read(variable: keras.Variable, constants: dict[int, Any] | None) -> Any:
    """Returns the value of a variable: of a constant, always the one that was read first."""
    if constants is None or not variable.trainable:
        return ops.convert_to_tensor(variable)
    if id(variable) not in constants:
        # TensorFlow's optimizer of graphs lets one of two reads see the update of the step.
        constants[id(variable)] = ops.copy(ops.convert_to_tensor(variable))
    return constants[id(variable)]


def _run_layer(
    layer: keras.Layer,
    inputs: Any,
    prediction: Any,
    active: Any,
    guard: Callable | None,
    values: list[tuple[keras.Variable, Any]],
) -> Any:
    """Calls a physics layer with shielded trainable variables, and keeps updates of its state."""
    values = [(v, shield(value, active) if v.trainable else value) for v, value in values]
    if guard is not None:
        values = [(v, guard(v, value) if v.trainable else value) for v, value in values]
    scope = keras.StatelessScope(values, collect_losses=True, initialize_variables=False)
    with scope:
        outputs = layer(inputs, prediction)
    for loss in scope.losses:
        layer.add_loss(loss)
    for variable, value in values:
        updated = scope.get_current_value(variable)
        if not variable.trainable and updated is not value:
            variable.assign(updated)
    return outputs


def _by_name(outputs: Any, names: Sequence[str], where: str) -> dict[str, Any]:
    if outputs is None:
        raise TypeError(
            f"{where} returned None. Return one output per term, in this order: {list(names)}."
        )
    if isinstance(outputs, dict):
        _check_names(list(outputs), names, where)
        return outputs
    if not isinstance(outputs, (tuple, list)):
        outputs = (outputs,)
    if len(outputs) != len(names):
        raise ValueError(
            f"{where} returned {len(outputs)} output(s) for {len(names)} term(s) {list(names)}. "
            "Return one output per term, in this order, or a dict by term name."
        )
    return dict(zip(names, outputs, strict=True))


def _check_names(got: list[Any], names: Sequence[str], where: str) -> None:
    missing = [name for name in names if name not in got]
    unknown = [name for name in got if name not in names]
    if missing or unknown:
        raise ValueError(
            f"{where} returned a dict whose keys do not match the terms."
            + (f" Missing: {missing}." if missing else "")
            + (f" Without a term: {unknown}." if unknown else "")
            + "".join(did_you_mean(name, missing) for name in unknown)
            + f" Received: {got}. Terms: {list(names)}."
        )


def _checked(output: Any, name: str, where: str) -> Any:
    if isinstance(output, keras.Variable):
        output = ops.convert_to_tensor(output)
    if not ops.is_tensor(output):
        raise TypeError(
            f"{where} must return a tensor for term '{name}'. It returned {_shown(output)} "
            f"(of type {type(output)}), which carries no gradient. Compute it from the prediction "
            "with `keras.ops`."
        )
    if not _is_float(_dtype(output)):
        raise TypeError(
            f"{where} must return a floating tensor for term '{name}': integers and booleans carry "
            f"no gradient. It returned dtype {_dtype(output)}. Leave out the cast or comparison."
        )
    return at_full_precision(output)


def _shown(value: Any) -> str:
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"an array of shape {tuple(value.shape)} and dtype {value.dtype}"
    return repr(value)


def _dtype(value: Any) -> str:
    return "none" if value is None else keras.backend.standardize_dtype(value.dtype)


def _is_float(dtype: str) -> bool:
    return dtype != "none" and keras.backend.is_float_dtype(dtype)
