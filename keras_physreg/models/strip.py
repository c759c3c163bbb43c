"""Removes the physics from a model for serving."""

from typing import Any

import keras

from keras_physreg._utils.errors import received
from keras_physreg._utils.owners import with_sublayers
from keras_physreg.derivatives import Derivatives
from keras_physreg.layers.physics_regularization import PhysicsRegularization, physics_layers
from keras_physreg.models.functional import Functional


def strip_physics(model: keras.Model) -> keras.Model:
    """Returns a plain model for serving: the same layers and predictions, without the physics.

    Inputs that only the physics needs, such as an `Input` for the label, are removed. A
    `Derivatives` layer is replaced by its network; it stays where an output is a derivative.

    Args:
        model: Functional or sequential model, with physics at any depth of nesting.

    Returns:
        A plain `keras.Model`, not compiled, that shares all other layers with `model`.

    Raises:
        TypeError: If `model` is not a Keras model.
        ValueError: If `model`, or a nested model with physics, is subclassed.

    Example:
    >>> import keras, keras_physreg as kp
    >>> encoder = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
    >>> model = kp.regularize(encoder, lambda z, x: x - z, {"identity": 0.1})
    >>> [type(layer).__name__ for layer in kp.strip_physics(model).layers]
    ['InputLayer', 'Dense']
    """
    check_functional(
        model, "`strip_physics`", "serve it as it is: `predict` and `export` skip the physics"
    )
    return _strip(model)[0]


def _strip(model: keras.Model) -> tuple[keras.Model, list[Any]]:
    """Returns the model without physics, and the keys of its remaining inputs."""
    keys_of: dict[int, list[Any]] = {}
    calls: list[tuple[Any, Any]] = []

    def keep_or_strip(layer: Any) -> Any:
        is_layer = isinstance(layer, keras.layers.Layer)  # Else an operation, such as a slice.
        replaced = isinstance(layer, PhysicsRegularization | Derivatives)
        if not is_layer or replaced or not _is_to_strip(layer):
            return layer
        stripped, keys_of_inputs = _strip(_checked_nested(layer))
        keys_of[id(stripped)] = keys_of_inputs
        return stripped

    def call_without_physics(layer: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(layer, PhysicsRegularization):
            return args[1] if len(args) > 1 else kwargs["prediction"]
        if isinstance(layer, Derivatives):
            return _without_derivatives(layer, args, kwargs, calls)
        if id(layer) in keys_of:
            args = (_select(args[0], keys_of[id(layer)]), *args[1:])
        result = layer(*args, **kwargs)
        calls.append(((args, kwargs), result))
        return result

    clone = keras.models.clone_model(
        _view(model), clone_function=keep_or_strip, call_function=call_without_physics
    )
    flat_outputs = clone.outputs[: len(model.outputs)]
    outputs = keras.tree.pack_sequence_as(inputs_and_outputs(model)[1], flat_outputs)
    keys = _needed_inputs(clone.input, outputs, calls)
    return keras.Model(_select(clone.input, keys), outputs, name=model.name), keys


def _is_to_strip(layer: keras.layers.Layer) -> bool:
    if physics_layers(layer):
        return True
    is_known = isinstance(layer, (Functional, keras.Sequential))
    return is_known and any(isinstance(part, Derivatives) for part in with_sublayers(layer))


def _without_derivatives(
    layer: Derivatives, args: tuple, kwargs: dict[str, Any], calls: list[tuple[Any, Any]]
) -> dict[str, Any]:
    """Returns the result of a layer, with the output computed by its network alone."""
    derivatives, output = layer(*args, **kwargs), layer.network(*args, **kwargs)
    calls += [((args, kwargs), derivatives), ((args, kwargs), output)]
    return {**derivatives, layer.output_key: output}


def _view(model: keras.Model) -> keras.Model:
    """Returns the model's graph for cloning, not compiled: a clone would compile itself again.

    Every input is an output, too, because Keras refuses a graph with an unused input.
    """
    identities = [keras.layers.Identity()(tensor) for tensor in model.inputs]
    return keras.Model(inputs_and_outputs(model)[0], [*model.outputs, *identities])


def inputs_and_outputs(model: keras.Model) -> tuple[Any, Any]:
    """Returns the inputs and the outputs of a functional or sequential model."""
    if isinstance(model, keras.Sequential):  # Its `input` exists only after its first call.
        return model.inputs[0], model.outputs[0]
    return model.input, model.output


def _keys(structure: Any) -> list[Any]:
    if isinstance(structure, dict):
        return list(structure)
    return list(range(len(structure))) if isinstance(structure, (list, tuple)) else [None]


def _select(structure: Any, keys: list[Any]) -> Any:
    """Returns the inputs at these keys; the input itself if a list has only one left."""
    if keys == [None]:
        return structure
    if isinstance(structure, dict):
        return {key: structure[key] for key in keys}
    return structure[keys[0]] if len(keys) == 1 else [structure[key] for key in keys]


def _needed_inputs(inputs: Any, outputs: Any, calls: list[tuple[Any, Any]]) -> list[Any]:
    """Returns the keys of the inputs that the outputs are computed from.

    Args:
        inputs: Structure of the inputs.
        outputs: Structure of the outputs.
        calls: Arguments and results of all calls of layers, in order.
    """
    needed = _ids(outputs)
    for arguments, results in reversed(calls):
        if needed & _ids(results):
            needed |= _ids(arguments)
    values = dict(zip(_keys(inputs), _values(inputs), strict=True))
    return [key for key, value in values.items() if _ids(value) & needed]


def _ids(structure: Any) -> set[int]:
    return {id(tensor) for tensor in keras.tree.flatten(structure)}


def _values(structure: Any) -> list[Any]:
    if isinstance(structure, dict):
        return list(structure.values())
    return list(structure) if isinstance(structure, (list, tuple)) else [structure]


def check_functional(model: Any, function: str, cure: str) -> None:
    """Raises unless a model is functional or built sequential.

    Args:
        model: The model.
        function: Name of the function that needs such a model.
        cure: What to do with a subclassed model, for the message.
    """
    if not isinstance(model, keras.Model):
        raise TypeError(f"{function} needs a Keras model. {received('model', model)}")
    if isinstance(model, keras.Sequential) and not model.built:
        raise ValueError(
            f"{function} needs a built model, but the sequential model '{model.name}' is not "
            "built. Begin it with a `keras.Input`, or call its `build` before."
        )
    if not isinstance(model, (Functional, keras.Sequential)):
        raise ValueError(
            f"{function} needs a functional or sequential model, but model '{model.name}' is "
            f"subclassed (of type {type(model).__name__}), and its `call` cannot be changed from "
            f"outside. Instead, {cure}."
        )


def _checked_nested(layer: keras.layers.Layer) -> keras.Model:
    if not isinstance(layer, (Functional, keras.Sequential)):
        raise ValueError(
            f"`strip_physics` cannot remove the physics that layer '{layer.name}' (of type "
            f"{type(layer).__name__}) calls in its own `call`. Call the physics layer in the "
            "functional model around it."
        )
    return layer
