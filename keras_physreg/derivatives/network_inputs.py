"""Matches the inputs of a functional or sequential network with those that it is given."""

from typing import Any

import keras

from keras_physreg._utils.functional import Functional


def check_network_inputs(network: keras.layers.Layer, inputs: Any, layer: str) -> None:
    """Raises unless a network with known inputs takes those that are given.

    Args:
        network: Any layer; only functional and built sequential models have known inputs.
        inputs: Tensor or dict of tensors.
        layer: Name of the layer around it, for messages.
    """
    known = _known_inputs(network)
    if known is None:
        return
    names = sorted(_names(known))
    subject = f"Derivatives layer '{layer}': the network '{network.name}'"
    if not isinstance(inputs, dict):
        if len(names) > 1:
            raise ValueError(
                f"{subject} has the inputs {names}: call the layer with a dict of tensors by these "
                "names. Received: one tensor"
            )
        width, got = keras.tree.flatten(known)[0].shape[-1], inputs.shape[-1]
        if None not in (width, got) and width != got:
            raise ValueError(f"{subject} takes {width} column(s). Received: {got}")
    elif isinstance(known, keras.KerasTensor):
        raise ValueError(
            f"{subject} takes one tensor: call the layer with one tensor of the columns "
            f"{list(inputs)} in their order. Received: a dict of tensors"
        )
    elif names != sorted(inputs):
        raise ValueError(
            f"{subject} has the inputs {names}. Received: a dict with the keys {list(inputs)}"
        )


def in_order_of(network: keras.layers.Layer, inputs: Any) -> list[Any]:
    """Returns the inputs in the order in which a network's own are flattened."""
    if not isinstance(inputs, dict):
        return [inputs]
    return [inputs[name] for name in _names(_known_inputs(network))]


def _known_inputs(network: keras.layers.Layer) -> Any:
    if isinstance(network, Functional):
        return network.input
    if isinstance(network, keras.Sequential) and network.built:
        return network.inputs[0]
    return None


def _names(known: Any) -> list[str]:
    """Returns the names of a network's inputs: keys of a dict, or names of tensors."""
    if isinstance(known, dict):
        return sorted(known)  # As `keras.tree.flatten` orders them.
    return [tensor.name for tensor in keras.tree.flatten(known)]
