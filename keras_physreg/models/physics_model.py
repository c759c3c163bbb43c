"""PhysicsModel: a Keras model that passes the labels to the physics and logs both losses."""

import contextlib
from typing import Any, ClassVar

import keras
from keras import ops

from keras_physreg.layers.evaluation import row_count
from keras_physreg.layers.step import current_step, open_step
from keras_physreg.models.distribution import replica_count
from keras_physreg.models.fit import FitModel
from keras_physreg.models.functional import is_functional
from keras_physreg.models.log_names import check_log_names
from keras_physreg.models.loss_means import TOTAL, LossMeans
from keras_physreg.models.physics_losses import count_terms, is_foreign, sum_weighted
from keras_physreg.models.run_step import has_own_train_step, in_step, run_in_step
from keras_physreg.models.saving import check_savable, check_weights_file
from keras_physreg.models.weight_moves import WeightMoves
from keras_physreg.unlabelled.input_rows import first_rows, labelled_inputs
from keras_physreg.unlabelled.joined_rows import joined_call
from keras_physreg.unlabelled.point_sets import ModelPoints
from keras_physreg.unlabelled.share import UnlabelledShare


@keras.saving.register_keras_serializable(package="keras_physreg")
class PhysicsModel(FitModel):
    """Keras model whose physics terms may compare with the labels.

    Build it as `PhysicsModel(inputs, outputs)`, or subclass it and call the physics layer inside
    `call`. Besides `loss` and each `<term>_loss` it logs `data_loss`, the compiled loss alone, and
    `physics_loss`, the weighted sum of the term losses. Both are exact at any ratio of the two.

    `sample_weight` (and `class_weight`) is the trust in the label of a row: it applies to the data
    loss and to the terms that compare with the label, not to label-free terms. `predict` and
    `export` do not compute the physics. `compile(loss=None)` trains on the physics alone.

    If you write your own `train_step` or `compute_loss`, call `compute_loss` of this class to get
    all physics: of the terms, `losses` holds only those that need no label. A training step that
    computes terms and does not add them to the total loss raises an error.

    With all weights 0 the model trains bit for bit as without physics, even if the physics is not
    finite, or calls the network and would update its state. Under XLA (`jit_compile=True`) this
    holds up to rounding, because XLA rounds the data gradient differently when another gradient
    joins it. A single term at weight 0 adds nothing to loss or gradient either. A weight of 0 does
    not keep out a derivative that is not finite in these cases: inside physics that several terms
    share, of which one has a weight (give each its own function, by a dict); of the prediction by
    the input; of trainable layers that a physics function uses (make the physics a layer); and, in
    a subclassed model, of trainable layers that compute the `inputs` of the physics.

    Args:
        inputs: `keras.Input`, or a list or dict of them.
        outputs: Tensor, or a list or dict of them, computed from `inputs`.
        name: Name of the model.

    Raises:
        ValueError: If two terms of the model share a name.

    Example:
    >>> import keras, keras_physreg as kp
    >>> def inverse(z, x_pred):  # z = 2 * x
    ...     return {"x": z - x_pred, "z": 2 * x_pred}
    >>> z = keras.Input((1,))
    >>> x_pred = keras.layers.Dense(1)(z)
    >>> terms = [kp.PhysicsTerm("x", "target"), kp.PhysicsTerm("z", "input", weight=0.1)]
    >>> model = kp.PhysicsModel(z, kp.PhysicsRegularization(inverse, terms)(z, x_pred))
    >>> model.compile("sgd", "mse")
    >>> history = model.fit(keras.ops.ones((4, 1)), keras.ops.ones((4, 1)), verbose=0)
    >>> sorted(history.history)
    ['data_loss', 'loss', 'physics_loss', 'x_loss', 'z_loss']
    """

    # The functional subclass of this class, which sets this attribute.
    functional_class: ClassVar[Any] = None
    # `id`s of physics layers whose `inputs` trainable layers compute; see `Step`.
    layers_with_shielded_inputs: frozenset[int] = frozenset()

    def __new__(cls, *args: Any, **kwargs: Any) -> "PhysicsModel":
        """Returns a functional model if inputs and outputs are given, as `keras.Model` does."""
        if cls is PhysicsModel and is_functional(args, kwargs):
            cls = PhysicsModel.functional_class
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        functional = PhysicsModel.functional_class
        if is_functional(args, kwargs) and not isinstance(self, functional):
            functional.replace_in_bases(type(self))
            functional.__init__(self, *args, **kwargs)
        else:
            super().__init__(*args, **kwargs)
            self._share, self._points = UnlabelledShare(), ModelPoints()
            self._loss_means, self._moves = LossMeans(), WeightMoves()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Wraps `train_step` and `test_step` of a subclass so that they run in a `Step`."""
        super().__init_subclass__(**kwargs)
        for name in ("train_step", "test_step"):
            method = getattr(cls, name)  # Its own, or that of another base class.
            ours = getattr(PhysicsModel, name)
            if method is not ours and not hasattr(method, "runs_in_step"):
                setattr(cls, name, in_step(method, training=name == "train_step"))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the model; outside of its steps, terms that need the label are not computed."""
        step = current_step()
        if step is None or is_foreign(self, step):
            args = tuple(labelled_inputs(arg) for arg in args)
            with open_step(self, "direct"):
                return super().__call__(*args, **kwargs)
        if step.model is not self:
            return super().__call__(*args, **kwargs)
        given = joined_call(self.call, args, kwargs, step)
        with step.calling(given.kinds, given.points):
            outputs = step.call.outputs = super().__call__(*given.args, **given.kwargs)
        return outputs if given.labelled is None else first_rows(outputs, given.labelled)

    def stateless_call(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the model as Keras does on JAX, by its `call`; see `keras.Layer`."""
        step = current_step()
        own = step is not None and step.model is self
        with step.calling() if step and own else contextlib.nullcontext():
            return super().stateless_call(*args, **kwargs)

    def train_step(self, *args: Any, **kwargs: Any) -> Any:
        """One step of training, with the physics; see `keras.Model`."""
        return run_in_step(self, super().train_step, args, kwargs, training=True)

    def test_step(self, *args: Any, **kwargs: Any) -> Any:
        """One step of evaluation, with the physics; see `keras.Model`."""
        return run_in_step(self, super().test_step, args, kwargs, training=False)

    def predict_step(self, *args: Any, **kwargs: Any) -> Any:
        """One step of prediction, without the physics; see `keras.Model`."""
        with open_step(self, "skip"):
            return super().predict_step(*args, **kwargs)

    def export(self, *args: Any, **kwargs: Any) -> Any:
        """Exports the model for serving, without the physics; see `keras.Model`."""
        with open_step(self, "skip"):
            return super().export(*args, **kwargs)

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Builds a loaded subclassed model on symbols, without the physics; see `keras.Model`."""
        with open_step(self, "skip"):
            super().build_from_config(config)

    def save(
        self, filepath: Any, overwrite: bool = True, zipped: bool | None = None, **kwargs: Any
    ) -> None:
        """Saves the model; see `keras.Model`. Raises first if it could not be loaded again."""
        check_savable(self, filepath, zipped)
        super().save(filepath, overwrite=overwrite, zipped=zipped, **kwargs)

    def load_weights(self, filepath: Any, skip_mismatch: bool = False, **kwargs: Any) -> None:
        """Loads weights; see `keras.Model`. Raises first if the file does not match the terms."""
        check_weights_file(self, filepath, skip_mismatch, kwargs.get("objects_to_skip"))
        super().load_weights(filepath, skip_mismatch=skip_mismatch, **kwargs)

    @property
    def losses(self) -> list[Any]:
        """List of scalar losses, as in Keras: those that layers added, and those of regularizers.

        In a `train_step` or `compute_loss` of your own the list also holds the weighted terms that
        need no label; reading it counts them as part of the total loss. `compute_loss` of
        `PhysicsModel` includes all these losses: do not add them to its result.
        """
        step = current_step()
        if step is None or step.mode == "direct" or keras.backend.backend() == "jax":
            return super().losses  # On JAX, Keras reads them itself in its step.
        if step.mode == "skip":
            return [] if step.model is self else super().losses
        counted = count_terms(step, self, label_free=True)
        if counted.new:
            step.model._loss_means.log(counted, step.evaluations[0].labelled_rows, {})
        floatx = keras.config.floatx()
        return [*super().losses, *(ops.cast(v.weighted, floatx) for v in counted.values)]

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Returns the sum of the data loss and the weighted term losses; see `keras.Model`."""
        step = current_step()
        if step is None or step.model is not self or step.mode != "labelled":
            return super().compute_loss(x, y, y_pred, sample_weight, training)
        counted = count_terms(step, self, y, sample_weight)
        losses = [ops.sum(loss) / replica_count() for loss in super().losses]
        has_data_loss = self.loss is not None and step.joined is None
        if has_data_loss:
            with open_step(self, "skip"):  # Here `losses` is empty: Keras returns the data loss.
                step.data_loss = super().compute_loss(x, y, y_pred, sample_weight, training)
            losses.insert(0, step.data_loss)
        total = ops.sum(losses) if len(losses) > 1 else losses[0] if losses else None
        physics = sum_weighted(counted.values) / replica_count()
        total = physics if total is None else total + ops.cast(physics, total.dtype)
        known = {"data_loss": step.data_loss} if has_data_loss else {}
        if has_own_train_step(self):
            known[TOTAL] = total
        self._loss_means.log(counted, row_count(y_pred), known)
        return total

    def get_metrics_result(self) -> dict[str, Any]:
        """Returns the logs; raises if two values share a name."""
        check_log_names(self)
        return self._loss_means.complete(super().get_metrics_result(), self, current_step())
