"""PhysicsModel: a Keras model that hands the labels to the physics and logs both losses."""

import inspect
import warnings
from typing import Any

import keras
from keras import ops

from keras_physreg.layers.metrics import NamedMeans
from keras_physreg.layers.physics_regularization import batch_size, physics_layers
from keras_physreg.layers.step import RowKinds, Step, current_step, open_step
from keras_physreg.models.callback_order import arrange_callbacks
from keras_physreg.models.distribution import replica_count
from keras_physreg.models.functional import (
    Functional,
    has_trainable_inputs,
    is_functional,
    next_name,
    origin_names,
)
from keras_physreg.models.log_names import check_log_names
from keras_physreg.models.run_step import compare_terms, in_step, run_in_step
from keras_physreg.models.saving import check_savable, check_weights_file
from keras_physreg.terms.term import check_unique
from keras_physreg.unlabelled.checks import check_alone, check_share
from keras_physreg.unlabelled.fit_arguments import pair
from keras_physreg.unlabelled.input_rows import Rows, first_rows, join_first


@keras.saving.register_keras_serializable(package="keras_physreg")
class PhysicsModel(keras.Model):
    """Keras model whose physics terms may compare with the labels.

    Built as `PhysicsModel(inputs, outputs)`, or by subclassing with the physics layer called
    inside `call`. Beside `loss` and each `<term>_loss` it logs `data_loss`, the compiled loss
    alone, and `physics_loss`, the weighted sum of the term losses: exactly, whatever their ratio.

    A row's `sample_weight` (and `class_weight`) is trust in its label: it weighs the data loss and
    the terms that compare with the label, and leaves the label-free terms alone. The physics is
    not computed in `predict` and `export`. `compile(loss=None)` trains on the physics alone.

    With every weight 0 the model trains bit for bit as it would without physics, even where the
    physics is not finite; under XLA (`jit_compile=True`) up to rounding, as XLA rounds the data
    gradient differently where another joins it. A single term at weight 0 beside others adds
    nothing to loss or gradient either. What a weight of 0 cannot keep out is a derivative that is
    not finite: inside physics that several terms share, of the prediction by the input, of
    trainable layers that a physics function closes over (make it a layer), or, in a subclassed
    model, of trainable layers that compute the physics' `inputs`.

    Args:
        inputs: `keras.Input`, or a list or dict of them.
        outputs: Tensor, or a list or dict of them, computed from the inputs.
        name: Name of the model.

    Raises:
        ValueError: If two terms of the model share a name.

    Example:
    >>> import keras, keras_physreg as kp
    >>> def inverse(z, x_pred):
    ...     return {"x": z / 2, "z": 2 * x_pred}
    >>> z = keras.Input((1,))
    >>> x_pred = keras.layers.Dense(1)(z)
    >>> terms = [kp.PhysicsTerm("x", "target"), kp.PhysicsTerm("z", "input", weight=0.1)]
    >>> model = kp.PhysicsModel(z, kp.PhysicsRegularization(inverse, terms)(z, x_pred))
    >>> model.compile("sgd", "mse")
    >>> history = model.fit(keras.ops.ones((4, 1)), keras.ops.ones((4, 1)), verbose=0)
    >>> sorted(history.history)
    ['data_loss', 'loss', 'physics_loss', 'x_loss', 'z_loss']
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> "PhysicsModel":
        """Returns a functional model where inputs and outputs are given, as `keras.Model` does."""
        if cls is PhysicsModel and is_functional(args, kwargs):
            cls = FunctionalPhysicsModel
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if is_functional(args, kwargs) and not isinstance(self, FunctionalPhysicsModel):
            _make_functional(type(self))
            FunctionalPhysicsModel.__init__(self, *args, **kwargs)
        else:
            super().__init__(*args, **kwargs)
            self.unlabelled_share: float | None = None
            self._loss_means = NamedMeans(["data_loss", "physics_loss"], "losses")

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Opens the labelled step around a subclass' own `train_step` and `test_step`, too."""
        super().__init_subclass__(**kwargs)
        for name in ("train_step", "test_step"):
            if name in vars(cls):
                setattr(cls, name, in_step(vars(cls)[name]))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the model; outside of its steps, terms that need the label are left out."""
        step = current_step()
        if step is None:
            args = tuple(arg.labelled if isinstance(arg, Rows) else arg for arg in args)
            with open_step(self, "direct"):
                return super().__call__(*args, **kwargs)
        if step.model is not self:
            return super().__call__(*args, **kwargs)
        step.evaluations.clear()  # As Keras clears `losses`: the last call counts.
        if step.unlabelled is None:
            return super().__call__(*args, **kwargs)
        args, kwargs, labelled = join_first(self.call, args, kwargs, step.unlabelled)
        step.kinds = RowKinds(labelled, step.unlabelled_share)
        return first_rows(super().__call__(*args, **kwargs), labelled)

    def fit(
        self,
        *args: Any,
        unlabelled: Any = None,
        unlabelled_batch_size: int | None = None,
        unlabelled_share: float | None = None,
        unlabelled_repeat: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Trains the model as `keras.Model.fit` does, on rows without labels too.

        With `unlabelled` each step calls the model once, on a labelled batch and an unlabelled
        one together. The data loss, the metrics and the terms that compare with the label are
        those of the labelled rows; the label-free terms are means over all rows. An epoch ends
        with the labelled rows. What a layer computes from its batch is of all rows: the statistics
        of batch normalisation, and losses that layers add; dropout draws a mask for all of them.

        Unlabelled rows come in an order of their own, all of them before one comes again, and go
        on where the last epoch ended, or the last `fit` of the compiled model with as many a step.
        `shuffle=False` leaves them, too, in the order given. With `sample_weight` they have no
        part.

        With every weight 0 unlabelled rows change nothing, where they are finite (what a row of
        NaN makes of the weights no factor of 0 takes back), and but for the shuffling: the
        labelled rows, too, come in another random order than without `unlabelled`.

        Warns where a callback compares weighted losses.

        Args:
            *args: As in `keras.Model.fit`.
            unlabelled: Inputs without labels, of the structure of `x`, with its shapes and dtypes
                but for the number of rows: arrays; or a `tf.data.Dataset` of batches, which goes
                on over the epochs; or a sampler `(step, batch) -> inputs`, such as
                `UniformSampler`, with the number of steps taken before and of rows wanted.
            unlabelled_batch_size: Unlabelled rows a step; by default as many as labelled ones,
                or 32 where a dataset does not say. Of arrays no more than they have. A
                `tf.data.Dataset` brings its own.
            unlabelled_share: `None`: label-free terms are means over all rows. A number `s` in
                (0, 1]: they are `(1 - s)` times the mean over labelled rows plus `s` times the
                mean over unlabelled ones.
            unlabelled_repeat: Whether a `tf.data.Dataset` that ends begins again, as it does by
                default; `False` makes its end an error.
            **kwargs: As in `keras.Model.fit`.

        Returns:
            A `keras.callbacks.History`.

        Raises:
            TypeError: If unlabelled inputs have another dtype than `x`.
            ValueError: If they have another structure or shape, are empty, or can do nothing as
                every term needs the label.

        Example:
        >>> import keras, numpy as np, keras_physreg as kp
        >>> encoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
        >>> model = kp.regularize(encoder, lambda z, x: 2 * x - z, {"double": 1.0})
        >>> model.compile("sgd", "mse")
        >>> z = np.random.default_rng(0).normal(size=(1000, 2))
        >>> history = model.fit(z[:10], z[:10] / 2, unlabelled=z[10:], verbose=0)
        >>> sorted(history.history)
        ['data_loss', 'double_loss', 'loss', 'physics_loss']
        """
        given = inspect.signature(super().fit).bind(*args, **kwargs)
        callbacks, epochs = given.arguments.get("callbacks"), given.arguments.get("epochs", 1)
        first = given.arguments.get("initial_epoch", 0)
        given.arguments["callbacks"] = arrange_callbacks(callbacks, epochs, first)
        if unlabelled is None:
            check_alone(
                unlabelled_batch_size=unlabelled_batch_size,
                unlabelled_share=unlabelled_share,
                unlabelled_repeat=unlabelled_repeat,
            )
        self.set_unlabelled_share(unlabelled_share)
        if unlabelled is None or not self.compiled:  # Keras says how to compile.
            return super().fit(**given.arguments)
        return super().fit(
            **pair(self, given.arguments, unlabelled, unlabelled_batch_size, unlabelled_repeat)
        )

    def train_step(self, *args: Any, **kwargs: Any) -> Any:
        """One step of training, with the physics; see `keras.Model`."""
        return run_in_step(self, super().train_step, args, kwargs)

    def test_step(self, *args: Any, **kwargs: Any) -> Any:
        """One step of evaluation, with the physics; see `keras.Model`."""
        return run_in_step(self, super().test_step, args, kwargs)

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
        """Saves the model; see `keras.Model`.

        What would not load again is refused before a file of that name is touched.
        """
        check_savable(self, filepath, zipped)
        super().save(filepath, overwrite=overwrite, zipped=zipped, **kwargs)

    def load_weights(self, filepath: Any, skip_mismatch: bool = False, **kwargs: Any) -> None:
        """Loads weights from a file; see `keras.Model`.

        A file with a term weight that is NaN, negative or infinite is refused before any layer is
        loaded; one without weights of these terms, such as the encoder's, unless `skip_mismatch`.
        """
        check_weights_file(self, filepath, skip_mismatch, kwargs.get("objects_to_skip"))
        super().load_weights(filepath, skip_mismatch=skip_mismatch, **kwargs)

    @property
    def losses(self) -> list[Any]:
        """List of scalar losses added by layers; in a step, the physics is not among them."""
        step = current_step()
        hidden = step is not None and step.model is self and step.hides_losses
        return [] if hidden else super().losses

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Computes the data loss, then the physics with the labels at hand; returns their sum."""
        step = current_step()
        if step is None or step.model is not self or step.mode != "labelled":
            return super().compute_loss(x, y, y_pred, sample_weight, training)
        values = compare_terms(self, step, y, sample_weight)
        losses = self._data_and_layer_losses(step, x, y, y_pred, sample_weight, training)
        dtype = keras.backend.result_type("float32", keras.config.floatx())
        physics = ops.sum([ops.zeros((), dtype), *(ops.cast(v.weighted, dtype) for v in values)])
        self._track_losses(step.data_loss, physics, batch_size(y_pred))
        total = ops.sum(losses) if len(losses) > 1 else losses[0] if losses else None
        physics = physics / replica_count()
        return physics if total is None else total + ops.cast(physics, total.dtype)

    def get_metrics_result(self) -> dict[str, Any]:
        """Returns the logs; raises where two of them would share a name."""
        check_log_names(self)
        logs = super().get_metrics_result()
        if self.loss is None:
            logs.pop("data_loss", None)
        return logs

    def _data_and_layer_losses(
        self, step: Step, x: Any, y: Any, y_pred: Any, sample_weight: Any, training: bool
    ) -> list[Any]:
        """Returns the data loss and the losses that layers added, scaled as Keras scales them."""
        losses = [ops.sum(loss) / replica_count() for loss in self.losses]
        if self.loss is None:
            return losses
        step.hides_losses = True
        try:
            step.data_loss = super().compute_loss(x, y, y_pred, sample_weight, training)
        finally:
            step.hides_losses = False
        return [step.data_loss, *losses]

    def set_unlabelled_share(self, share: float | None) -> None:
        """Sets what unlabelled rows count in the steps to come; `fit` does by its argument."""
        check_share(share)
        if share != self.unlabelled_share and self.train_function is not None:
            self.make_train_function(force=True)  # The share is part of what is traced.
        self.unlabelled_share = share

    def _track_losses(self, data_loss: Any, physics_loss: Any, rows: Any) -> None:
        values = {"physics_loss": physics_loss}
        if data_loss is not None:
            values["data_loss"] = data_loss * replica_count()
        self._loss_means.update_state(values, rows)


# `keras.Model` makes a subclass functional by changing the bases of all its ancestors: a later
# subclass of `PhysicsModel` with a `call` of its own would then break. So the functional kind is a
# class of its own.
@keras.saving.register_keras_serializable(package="keras_physreg")
class FunctionalPhysicsModel(PhysicsModel, Functional):
    """What `PhysicsModel(inputs, outputs)` builds; see there."""

    # Keras takes a class for functional, and saves and clones it as such, by this signature.
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if len(args) < 3 and kwargs.get("name") is None:
            kwargs["name"] = next_name()
        super().__init__(*args, **kwargs)
        layers = physics_layers(self)
        if not layers:
            warnings.warn(
                f"Model '{self.name}' has no physics: use what the `PhysicsRegularization` layer "
                "returns as output, or Keras leaves the layer out of the model.",
                stacklevel=2,
            )
        check_unique([n for layer in layers for n in layer.term_names], f"model '{self.name}'")
        self.output_names = origin_names(self)
        for layer in layers:
            layer.shields_inputs = has_trainable_inputs(self, layer)


def _fit_signature() -> inspect.Signature:
    """Returns the arguments of `keras.Model.fit` and our own, for `help` and editors."""
    own = inspect.signature(PhysicsModel.fit)
    added = [p for p in own.parameters.values() if p.kind is p.KEYWORD_ONLY]
    theirs = inspect.signature(keras.Model.fit)
    return theirs.replace(parameters=[*theirs.parameters.values(), *added])


PhysicsModel.fit.__signature__ = _fit_signature()  # type: ignore[attr-defined]


def _make_functional(cls: type) -> None:
    """Puts the functional kind in the place of `PhysicsModel` among the bases of a user's class."""
    if not issubclass(cls, FunctionalPhysicsModel):
        for base in cls.__bases__:
            if base is not PhysicsModel and issubclass(base, PhysicsModel):
                _make_functional(base)
        cls.__bases__ = tuple(
            FunctionalPhysicsModel if base is PhysicsModel else base for base in cls.__bases__
        )
