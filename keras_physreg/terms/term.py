"""PhysicsTerm: what is compared with what, by which loss, at which weight."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import keras

from keras_physreg._utils import serialization
from keras_physreg.terms import references

RESERVED_NAMES = ("data", "physics")
SMALLEST_WEIGHT, LARGEST_WEIGHT = 1e-37, 1e37


@keras.saving.register_keras_serializable(package="keras_physreg")
@dataclass(frozen=True)
class PhysicsTerm:
    """One named comparison of a physics output, with a loss and a weight.

    The term's loss is a mean over the rows of a batch; the model trains on `weight * loss`.
    An inequality `g <= 0` is the residual `relu(g)`.

    Args:
        name: Name of the term: the key of the physics output, and the stem of the logs
            `<name>_loss` and `<name>_weight`.
        reference: What the physics output is compared with. `None`: nothing, the output is a
            residual and is driven to 0. `"input"`, `"target"` (the label) or `"prediction"`, or a
            dotted path into a structured one, such as `"input.pressure"` or `"target.0"`.
        components: Indices on the last axis of the reference, where the physics gives only some
            of them. `None` takes all.
        loss: A Keras loss: its name, a `keras.losses.Loss`, or a function `(y_true, y_pred)` that
            returns one value a row. `y_true` is the reference (zeros for a residual) and `y_pred`
            is the physics output; a tensor of shape `(batch,)` is handed over as `(batch, 1)`.
        weight: Initial weight, a float >= 0, in units of 1 / loss.

    Raises:
        TypeError: If an argument has a type that cannot serve.
        ValueError: If a name, reference, component, loss or weight has no meaning.

    Example:
    >>> term = PhysicsTerm("x", reference="target", components=[0, 1], weight=1e-10)
    >>> term.components
    (0, 1)
    """

    name: str
    reference: str | None = None
    components: Sequence[int] | None = None
    loss: str | keras.losses.Loss | Callable = "mse"
    weight: float = 1.0

    def __post_init__(self) -> None:
        _check_name(self.name)
        references.check_path(self.name, self.reference)
        object.__setattr__(self, "components", _standardize_components(self))
        object.__setattr__(self, "weight", check_weight(self.name, self.weight))
        _check_loss(self)

    def get_config(self) -> dict[str, Any]:
        """Returns the configuration, from which `from_config` rebuilds the term."""
        return {
            "name": self.name,
            "reference": self.reference,
            "components": None if self.components is None else list(self.components),
            "loss": serialization.serialize(self.loss, f"the loss of physics term '{self.name}'"),
            "weight": self.weight,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "PhysicsTerm":
        """Rebuilds a term from its configuration."""
        loss = config["loss"]
        if isinstance(loss, dict):
            loss = keras.losses.deserialize(loss)
        return cls(**{**config, "loss": loss})


def standardize_terms(terms: Any) -> tuple[PhysicsTerm, ...]:
    """Returns the terms as a tuple: from a sequence of them, or `{name: weight}` of residuals."""
    if isinstance(terms, PhysicsTerm):
        terms = [terms]
    if isinstance(terms, dict):
        terms = [PhysicsTerm(name, weight=weight) for name, weight in terms.items()]
    if not isinstance(terms, Sequence) or not all(isinstance(t, PhysicsTerm) for t in terms):
        raise TypeError(
            "`terms` must be a list of `PhysicsTerm`, or a dict `{name: weight}` of residuals. "
            f"Received: terms={terms!r} (of type {type(terms)})"
        )
    if not terms:
        raise ValueError("`terms` is empty: give at least one `PhysicsTerm`.")
    check_unique([term.name for term in terms], "one physics layer")
    return tuple(terms)


def check_unique(names: Sequence[str], place: str) -> None:
    """Raises if two terms of one place carry the same name."""
    duplicates = sorted({name for name in names if names.count(name) > 1})
    if duplicates:
        raise ValueError(
            f"Physics term names must be unique, or their logs would overwrite each other. "
            f"Received in {place}: {duplicates} more than once, among {list(names)}."
        )


def check_weight(name: str, weight: Any) -> float:
    """Returns the weight as a float, or raises if it is no finite number >= 0."""
    if isinstance(weight, bool) or not isinstance(weight, Real):
        raise TypeError(
            f"The weight of physics term '{name}' must be a number >= 0. "
            f"Received: weight={weight!r} (of type {type(weight)})"
        )
    if weight != 0 and not SMALLEST_WEIGHT <= float(weight) <= LARGEST_WEIGHT:
        raise ValueError(
            f"The weight of physics term '{name}' must be 0 (off), or finite, above 0 and within "
            f"float32: {SMALLEST_WEIGHT:g} to {LARGEST_WEIGHT:g}. Received: weight={weight!r}"
        )
    return float(weight)


def _check_name(name: Any) -> None:
    if not isinstance(name, str):
        raise TypeError(
            "A physics term's name must be a string. "
            f"Received: name={name!r} (of type {type(name)})"
        )
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*", name):
        raise ValueError(
            "A physics term's name names variables and logs: use letters, digits, '_', '-' and "
            f"'.'. Received: name={name!r}"
        )
    if name in RESERVED_NAMES or name.startswith("val_"):
        raise ValueError(
            f"The physics term name '{name}' would log '{name}_loss', which is taken by "
            "`PhysicsModel` or by the validation logs. Choose another name."
        )


def _standardize_components(term: PhysicsTerm) -> tuple[int, ...] | None:
    components = term.components
    if components is None:
        return None
    if term.reference is None:
        raise ValueError(
            f"Physics term '{term.name}' is a residual (`reference=None`): there is no reference "
            f"to take components of. Received: components={components!r}"
        )
    iterable = components if hasattr(components, "__iter__") else [components]
    indices: tuple[Any, ...] = tuple(iterable)
    if not indices or not all(_is_index(index) for index in indices):
        raise TypeError(
            f"`components` of physics term '{term.name}' must be a list of integers. "
            f"Received: components={components!r}"
        )
    return tuple(int(index) for index in indices)


def _is_index(value: Any) -> bool:
    return hasattr(value, "__index__") and not isinstance(value, bool)


def _check_loss(term: PhysicsTerm) -> None:
    if isinstance(term.loss, str):
        try:
            keras.losses.get(term.loss)
        except ValueError as error:
            raise ValueError(
                f"Keras knows no loss of the name given to physics term '{term.name}'. "
                f"Received: loss={term.loss!r}"
            ) from error
    elif isinstance(term.loss, keras.losses.Loss):
        if term.loss.reduction == "sum":
            raise ValueError(
                f"Term losses are means over the batch; the loss of physics term '{term.name}' "
                "sums over it. Use `reduction='sum_over_batch_size'` and a larger weight. "
                f"Received: loss={term.loss!r}"
            )
    elif not callable(term.loss):
        raise TypeError(
            f"`loss` of physics term '{term.name}' must be a Keras loss name, a "
            "`keras.losses.Loss` or a function `(y_true, y_pred)`. "
            f"Received: loss={term.loss!r} (of type {type(term.loss)})"
        )
