"""PhysicsTerm: the name, reference, loss and weight of one physics term."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import keras

from keras_physreg._utils import names, serialization
from keras_physreg._utils.errors import is_whole, received
from keras_physreg.terms import references
from keras_physreg.terms.loss_argument import check_loss
from keras_physreg.terms.options import check_options
from keras_physreg.terms.scale import Scale, standardize_scale
from keras_physreg.terms.weights import check_weight

RESERVED_NAMES = ("data", "physics")


@keras.saving.register_keras_serializable(package="keras_physreg")
@dataclass(frozen=True)
class PhysicsTerm:
    """One named comparison of a physics output, with a loss and a weight.

    The term's loss is a mean over the rows of a batch; the model trains on `weight * loss`.
    Write an inequality `g <= 0` as the residual `relu(g)`.

    Args:
        name: Name of the term: the key of the physics output, and the first part of the log names
            `<name>_loss` and `<name>_weight`.
        reference: What the physics output is compared with. `None`: the output is a residual,
            which is driven to 0. Else `"input"`, `"target"` (the label) or `"prediction"`, or a
            dotted path into one that is a structure, such as `"input.pressure"` or `"target.0"`.
        components: Indices on the last axis of the reference, if the physics computes only some
            of its components. `None` takes all.
        loss: A Keras loss: its name, a `keras.losses.Loss`, or a function `(y_true, y_pred)` that
            returns one value per row. `y_true` is the reference (zeros for a residual) and `y_pred`
            is the physics output. Tensors of shape `(batch,)` are passed as `(batch, 1)`.
        weight: Initial weight, a float >= 0, in units of 1 / loss.
        scale: What a deviation of 1 means, in the unit of the output: a number, or one per
            component on the last axis, such as `Z.std(axis=0)`. The loss is that of `output /
            scale` against `reference / scale`, so that a weight means the same in W and in kW.
            `None` for 1. `"auto"`: the standard deviation of the reference, an input or a label,
            over all rows (and steps) of the arrays of the first training. `fit` of a
            `PhysicsModel`, `ReplicaTrainer` and `sanity_sweep` replace it by these numbers, which
            are saved with the model.
        where: Function of the inputs that selects rows: boolean, or a weight >= 0, of shape
            `(batch,)` (or `(batch, steps)`). The term's loss is the mean over these rows, 0 if
            there are none. The physics never gets the other rows: a copy of a row that counts
            replaces each. Physics that differentiates the prediction by the inputs needs the true
            rows: return `keras_physreg.on_rows(output, where)` from it instead. On several
            devices of a `tf.distribute` strategy the loss is the mean of the devices' means. To
            save the model, register the function with
            `keras.saving.register_keras_serializable`.
        at: `"prediction"`, or `"labels"`: the physics gets the label in place of the prediction,
            on labelled rows. Such a term trains only the constants of the physics;
            `sample_weight` applies to it.
        trains: What the term trains. `None`: everything that it is computed from. `"network"`: all
            but the trainable weights of the physics, such as constants. `"constants"`: only these.
        mask: Whether to leave out the steps that the Keras mask of the prediction leaves out.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If a name, reference, component, loss, weight or option is not valid.

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
    scale: Any = None
    where: Callable[[Any], Any] | None = None
    at: Literal["prediction", "labels"] = "prediction"
    trains: Literal["network", "constants"] | None = None
    mask: bool = True

    def __post_init__(self) -> None:
        names.check_name("a physics term", self.name, RESERVED_NAMES, log="{}_loss")
        references.check_path(self.name, self.reference)
        object.__setattr__(self, "components", _standardize_components(self))
        object.__setattr__(self, "scale", _standardize_scale(self))
        object.__setattr__(self, "weight", check_weight(self.name, self.weight))
        check_loss(self.loss, f"of physics term '{self.name}'")
        _check_reduction(self)
        check_options(self.name, self.where, self.at, self.trains, self.mask)

    @property
    def needs_label(self) -> bool:
        """Whether the term can be computed only on rows that have a label."""
        return self.at == "labels" or references.root(self.reference) == "target"

    def get_config(self) -> dict[str, Any]:
        """Returns the configuration, from which `from_config` rebuilds the term."""
        of = f"of physics term '{self.name}'"
        return {
            "name": self.name,
            "reference": self.reference,
            "components": None if self.components is None else list(self.components),
            "loss": serialization.serialize(self.loss, f"the loss {of}"),
            "weight": self.weight,
            "scale": list(self.scale) if isinstance(self.scale, tuple) else self.scale,
            "where": self.where and serialization.serialize(self.where, f"the `where` {of}"),
            "at": self.at,
            "trains": self.trains,
            "mask": self.mask,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "PhysicsTerm":
        """Rebuilds a term from its configuration."""
        loss, where = config["loss"], config.get("where")
        if isinstance(loss, dict):
            loss = keras.losses.deserialize(loss)
        if isinstance(where, dict):
            where = keras.saving.deserialize_keras_object(where)
        return cls(**{**config, "loss": loss, "where": where})


def standardize_terms(terms: Any) -> tuple[PhysicsTerm, ...]:
    """Returns a tuple of terms.

    Args:
        terms: A `PhysicsTerm`, a sequence of them, or a dict `{name: weight}` of residuals.

    Raises:
        TypeError: If `terms` is none of these.
        ValueError: If there are no terms, or two of them share a name.
    """
    if isinstance(terms, PhysicsTerm):
        terms = [terms]
    if isinstance(terms, dict):
        terms = [PhysicsTerm(name, weight=weight) for name, weight in terms.items()]
    if not isinstance(terms, Sequence) or not all(isinstance(t, PhysicsTerm) for t in terms):
        raise TypeError(
            "`terms` must be a list of `PhysicsTerm`, or a dict `{name: weight}` of residuals. "
            + received("terms", terms)
        )
    if not terms:
        raise ValueError(f"`terms` must hold at least one term. {received('terms', terms)}")
    names.check_unique("physics terms", [term.name for term in terms], "one physics layer")
    return tuple(terms)


def _standardize_scale(term: PhysicsTerm) -> Scale:
    return standardize_scale(f"physics term '{term.name}'", term.scale, term.reference)


def _standardize_components(term: PhysicsTerm) -> tuple[int, ...] | None:
    components = term.components
    if components is None:
        return None
    if term.reference is None:
        raise ValueError(
            f"Physics term '{term.name}' is a residual (`reference=None`), so `components` has no "
            f"reference to select from. Leave it out. {received('components', components)}"
        )
    iterable: Any = components if hasattr(components, "__iter__") else [components]
    indices = tuple(iterable)
    ordered = not isinstance(components, dict | set | frozenset)
    if not ordered or not indices or not all(map(is_whole, indices)):
        raise TypeError(
            f"`components` of physics term '{term.name}' must be a list of integers. "
            + received("components", components)
        )
    return tuple(int(index) for index in indices)


def _check_reduction(term: PhysicsTerm) -> None:
    if getattr(term.loss, "reduction", None) == "sum":
        raise ValueError(
            f"`loss` of physics term '{term.name}' must average over the batch, not sum over it. "
            "Use `reduction='sum_over_batch_size'` and a larger weight. "
            + received("loss", term.loss)
        )
