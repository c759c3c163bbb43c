"""PhysicsRegularization: the layer that turns physics into named, weighted loss terms."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import keras

from keras_physreg._utils.owners import owners
from keras_physreg.constants.constant import Constant
from keras_physreg.layers.added_losses import add_losses, earlier_in_call
from keras_physreg.layers.build_physics import symbolic
from keras_physreg.layers.constant_logs import constants_by_log_name, logged_values
from keras_physreg.layers.evaluation import Evaluation, TermValue, row_count
from keras_physreg.layers.groups import check_trainable
from keras_physreg.layers.metrics import LastValues, NamedMeans
from keras_physreg.layers.physics_calls import PhysicsCalls
from keras_physreg.layers.physics_functions import PhysicsFunctions, deserialize_physics
from keras_physreg.layers.step import current_step
from keras_physreg.layers.stored_weights import (
    add_term_weight,
    load_terms,
    store_terms,
    track_in_tensorflow,
)
from keras_physreg.layers.symbolic_origins import passed_through
from keras_physreg.layers.term_value import compare_terms
from keras_physreg.layers.unreached_terms import warn_of_unreached
from keras_physreg.terms.term import PhysicsTerm, standardize_terms

# The logs `<term>_<suffix>` of the layer and of callbacks.
TERM_LOG_SUFFIXES = ("loss", "weight", "grad_norm", "grad_ratio", "grad_cosine")


@keras.saving.register_keras_serializable(package="keras_physreg")
class PhysicsRegularization(keras.layers.Layer):
    """Layer that returns the prediction unchanged and adds physics terms to the loss.

    Each term's unweighted loss is logged as `<term>_loss` (and `val_<term>_loss`). In a
    `PhysicsModel` terms may compare with the label. In a plain `keras.Model`, pass the label as
    `targets`, from a second `Input`.

    Args:
        physics: Differentiable function `(inputs, prediction) -> outputs`, or a
            `keras.layers.Layer` with these call arguments. It returns a dict by term name, a tuple
            in the order of the terms, or one tensor for one term. A dict `{term: function or
            layer}` gives each term its own, which returns the output of this term alone: terms
            can then have points of their own, `fit(points=...)`. The trainable weights of a layer
            train with the model: make each unknown physical constant a `keras_physreg.Constant`.
            Tensors are passed in float32 or wider. A layer, and the layers nested in it, compute in
            float32 if their dtype policy asks for 16 bits. To save the model, register a function
            with `keras.saving.register_keras_serializable`.
        terms: List of `PhysicsTerm`, or a dict `{name: weight}` of residuals.
        **kwargs: `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: First argument of the physics: tensor or structure of shape `(batch, ...)`.
        prediction: Second argument of the physics: tensor or structure of shape `(batch, ...)`;
            the layer returns it unchanged.
        targets: The label, for terms with `reference="target"` in a plain `keras.Model`.

    Raises:
        TypeError: If `physics` is not callable, or `terms` are no terms.
        ValueError: If two terms share a name, a function uses a `Constant`, or the keys of a dict
            are not the terms.

    Example:
    >>> import keras, keras_physreg as kp
    >>> def mass_balance(flows_in, flows_out):
    ...     return keras.ops.sum(flows_in, -1) - keras.ops.sum(flows_out, -1)
    >>> flows_in = keras.Input((3,))
    >>> flows_out = keras.layers.Dense(2)(flows_in)
    >>> flows_out = kp.PhysicsRegularization(mass_balance, {"mass": 0.1})(flows_in, flows_out)
    >>> model = keras.Model(flows_in, flows_out)
    >>> model.compile("sgd", "mse")
    >>> history = model.fit(keras.ops.ones((4, 3)), keras.ops.ones((4, 2)), verbose=0)
    >>> sorted(history.history)
    ['loss', 'mass_loss']
    """

    # Whether `fit` has checked the derivatives of rows that do not count.
    left_out_rows_are_checked = False

    def __init__(
        self,
        physics: Callable | keras.layers.Layer | Mapping[str, Callable],
        terms: Sequence[PhysicsTerm] | dict[str, float],
        **kwargs: Any,
    ) -> None:
        # Without autocast the layer returns the prediction in its own dtype under any policy.
        super().__init__(autocast=False, **kwargs)
        self.supports_masking = True
        self.physics = physics
        self.terms = standardize_terms(terms)
        self.functions = PhysicsFunctions(physics, self.term_names)
        check_trainable(self.functions, self.terms)
        if self.functions.is_by_term:  # `tf.train.Checkpoint` finds attributes only.
            for number, layer in enumerate(self.functions.layers):
                setattr(self, f"physics {number}", layer)
        self._weights_by_term = {term.name: add_term_weight(self, term) for term in self.terms}
        self._calls = PhysicsCalls(self, PhysicsRegularization)
        self._term_losses = NamedMeans([f"{term.name}_loss" for term in self.terms], "term_losses")
        track_in_tensorflow(self, "term losses", self._term_losses.variables)
        if self.functions.layers:
            self._constant_values = LastValues("constants")
            self._follow_constants()

    @property
    def term_names(self) -> list[str]:
        """The names of the terms, in order."""
        return [term.name for term in self.terms]

    @property
    def constants(self) -> list[Constant]:
        """The `Constant`s of the physics; empty if it is a function."""
        return self.functions.constants

    @property
    def needs_labels(self) -> bool:
        """Whether any term needs the label."""
        return any(term.needs_label for term in self.terms)

    def weight_variable(self, name: str) -> keras.Variable:
        """Returns the float32 variable that holds a term's weight."""
        return self._weights_by_term[name]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the layer; see `keras.layers.Layer`."""
        for name, value in {
            **dict(zip(("inputs", "prediction"), args, strict=False)),
            **kwargs,
        }.items():
            if value is None and name in ("inputs", "prediction"):
                raise ValueError(
                    f"Physics layer '{self.name}' needs two arguments: call "
                    f"`layer(inputs, prediction)`. Received: {name}=None"
                )
        return super().__call__(*args, **kwargs)

    def build(self, inputs_shape: Any, prediction_shape: Any, targets_shape: Any = None) -> None:
        """Builds the physics if it is a layer, so that its weights exist before training."""
        del targets_shape
        self._build_physics(symbolic(inputs_shape), symbolic(prediction_shape))

    def compute_output_spec(
        self, inputs: Any, prediction: Any, targets: Any = None, prediction_mask: Any = None
    ) -> Any:
        """Returns the spec of the prediction; the physics terms are not computed."""
        self._build_physics(inputs, prediction)
        del targets, prediction_mask
        return keras.tree.map_structure(lambda t: passed_through(t, inputs, self), prediction)

    def compute_mask(self, *args: Any, **kwargs: Any) -> None:
        """Returns `None`: the prediction keeps its own mask."""

    def call(
        self,
        inputs: Any,
        prediction: Any,
        targets: Any = None,
        training: bool | None = None,
        prediction_mask: Any = None,
    ) -> Any:
        """Computes the physics and returns the prediction unchanged."""
        step = current_step()
        if step is not None and (step.mode == "skip" or not step.model.built):
            return prediction  # Keras first runs an unbuilt model on symbolic tensors.
        if step is not None and step.mode == "arguments":
            step.record(Evaluation(self, {}, inputs, prediction, targets), trains=False)
            return prediction
        evaluation = self.evaluate_physics(inputs, prediction, targets, training, prediction_mask)
        if step is not None and step.mode == "labelled":
            step.record(evaluation, trains=bool(training))
        else:
            values = self._add_losses(evaluation, step is not None and not training)
            if training is not False:  # A model without this argument passes None in training.
                warn_of_unreached(self, {value.name: value.loss for value in values})
        return prediction

    def evaluate_physics(
        self,
        inputs: Any,
        prediction: Any,
        targets: Any = None,
        training: Any = None,
        mask: Any = None,
    ) -> Evaluation:
        """Calls the physics for the terms at the prediction.

        Args:
            inputs: As in the layer's call, like `prediction`, `targets` and `training`.
            prediction: Second argument of the physics.
            targets: The label, or `None`.
            training: Whether the layer is called in training mode.
            mask: Keras masks of the prediction, in its structure, or `None`.

        Returns:
            The outputs by term name, and what they may be compared with.
        """
        return self._calls.at_prediction(inputs, prediction, targets, bool(training), mask)

    def evaluate_again(self, evaluation: Evaluation, prediction: Any) -> Evaluation:
        """Calls the physics again, with another prediction and otherwise the same arguments."""
        inputs, targets, mask = evaluation.inputs, evaluation.targets, evaluation.mask
        there = self.evaluate_physics(inputs, prediction, targets, mask=mask)
        return replace(there, called_with=evaluation.called_with)

    def evaluations(self, evaluation: Evaluation, labels: Any = None) -> dict[str, Evaluation]:
        """Returns the evaluation that each term is computed from, by its name.

        This calls the physics for terms with `at="labels"`, on the labelled rows; these terms are
        missing if there is no label.

        Args:
            evaluation: The result of `evaluate_physics`.
            labels: The label, used if the layer was called without `targets`.
        """
        there = self._calls.at_labels(evaluation, labels)
        found = {term.name: there if term.at == "labels" else evaluation for term in self.terms}
        found |= evaluation.at_points
        return {n: e for n, e in found.items() if e is not None and n not in evaluation.skipped}

    def compare(
        self,
        evaluation: Evaluation,
        labels: Any = None,
        sample_weight: Any = None,
        skip_unlabelled: bool = False,
    ) -> list[TermValue]:
        """Computes the loss of each term, without adding it to the layer's losses.

        Args:
            evaluation: The result of `evaluate_physics`.
            labels: The label, used if the layer was called without `targets`.
            sample_weight: Weights of the labelled rows, of shape `(batch,)`; they apply only to
                terms that need the label.
            skip_unlabelled: Whether to leave out terms whose label is missing, in place of raising.

        Returns:
            One `TermValue` per term.

        Raises:
            ValueError: If a term needs the label, there is none, and `skip_unlabelled` is false.
        """
        return compare_terms(self, evaluation, labels, sample_weight, skip_unlabelled)

    def track(self, values: Sequence[TermValue], rows: Any, again: bool = False) -> None:
        """Updates the logged means of the term losses, and the logged constants.

        Args:
            values: The terms of a batch.
            rows: Number of rows of the batch, its weight in the means.
            again: Whether earlier values of the terms were logged for this batch; they are summed.
        """
        self._log(True)
        losses = {f"{value.name}_loss": value.loss for value in values}
        empty = {f"{v.name}_loss": v.is_empty for v in values if v.is_empty is not None}
        self._term_losses.update_state(losses, rows, again, empty)
        if self.constants:
            self._constant_values.update_state(logged_values(self.constants))

    def get_config(self) -> dict[str, Any]:
        """Returns the configuration; raises `ValueError` if the physics could not be loaded."""
        return {
            **super().get_config(),
            "physics": self.functions.serialize(self.name),
            "terms": [keras.saving.serialize_keras_object(term) for term in self.terms],
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "PhysicsRegularization":
        """Rebuilds the layer from its configuration."""
        config = dict(config)
        physics = deserialize_physics(config.pop("physics"))
        terms = [keras.saving.deserialize_keras_object(term) for term in config.pop("terms")]
        return cls(physics, terms, **config)

    def save_own_variables(self, store: Any) -> None:
        """Stores the weights and scales by term name, so that the order of the terms may change."""
        store_terms(self, store)

    def load_own_variables(self, store: Any) -> None:
        """Loads the weights by term name; raises if one is missing or not a valid weight."""
        load_terms(self, store)

    def _add_losses(self, evaluation: Evaluation, skip_unlabelled: bool) -> list[TermValue]:
        values = self.compare(evaluation, skip_unlabelled=skip_unlabelled)
        earlier = earlier_in_call(self)
        rows = row_count(evaluation.prediction) if earlier is None else earlier.rows
        if keras.backend.backend() == "jax":  # There a `call` cannot update metrics.
            self._log(False)
        else:
            self.track(values, rows, again=earlier is not None)
        add_losses(self, values, rows)
        return values

    def _build_physics(self, inputs: Any, prediction: Any) -> None:
        if self.functions.build(inputs, prediction):
            self._follow_constants()

    def _follow_constants(self) -> None:
        """Logs the constants that the physics has created so far."""
        taken = {f"{term.name}_{suffix}" for term in self.terms for suffix in TERM_LOG_SUFFIXES}
        self._constant_values.follow(constants_by_log_name(self.constants, taken, self.name))
        track_in_tensorflow(self, "logged constants", self._constant_values.variables)
        track_in_tensorflow(self, "constants", [constant.raw for constant in self.constants])

    def _log(self, is_logged: bool) -> None:
        self._term_losses.is_logged = is_logged
        if self.constants:
            self._constant_values.is_logged = is_logged


def physics_layers(model: keras.Model) -> list[PhysicsRegularization]:
    """Returns the physics layers of a model, at any depth of nesting, in the model's order."""
    return owners(model, PhysicsRegularization)
