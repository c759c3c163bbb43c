"""PhysicsModel: a Keras model that passes the labels to the physics and logs both losses."""

import contextlib
from typing import Any, ClassVar

import keras
from keras import ops

from keras_physreg._utils.backend import needs_tensorflow
from keras_physreg._utils.errors import whole_number
from keras_physreg.layers.evaluation import RowKinds, row_count
from keras_physreg.layers.step import current_step, open_step
from keras_physreg.models.before_fit import before_fit
from keras_physreg.models.callback_order import arrange_callbacks
from keras_physreg.models.distribution import replica_count
from keras_physreg.models.functional import is_functional
from keras_physreg.models.log_names import check_log_names
from keras_physreg.models.loss_means import TOTAL, LossMeans
from keras_physreg.models.physics_losses import count_terms, is_foreign, sum_weighted
from keras_physreg.models.run_step import has_own_train_step, in_step, run_in_step
from keras_physreg.models.saving import check_savable, check_weights_file
from keras_physreg.unlabelled.checks import check_no_options, check_share
from keras_physreg.unlabelled.fit_arguments import pair
from keras_physreg.unlabelled.input_rows import first_rows, join_first, labelled_inputs
from keras_physreg.unlabelled.share import UnlabelledShare


@keras.saving.register_keras_serializable(package="keras_physreg")
class PhysicsModel(keras.Model):
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
    share; of the prediction by the input; of trainable layers that a physics function uses (make
    the physics a layer); and, in a subclassed model, of trainable layers that compute the `inputs`
    of the physics.

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
            self._share = UnlabelledShare()
            self._loss_means = LossMeans()

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
        kinds = None
        if step.unlabelled is not None:
            args, kwargs, labelled = join_first(self.call, args, kwargs, step.unlabelled)
            kinds = RowKinds(labelled, step.unlabelled_share)
        with step.calling(kinds):
            outputs = step.call.outputs = super().__call__(*args, **kwargs)
        return outputs if kinds is None else first_rows(outputs, kinds.labelled)

    def stateless_call(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the model as Keras does on JAX, by its `call`; see `keras.Layer`."""
        step = current_step()
        own = step is not None and step.model is self
        with step.calling() if step and own else contextlib.nullcontext():
            return super().stateless_call(*args, **kwargs)

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: Any = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: Any = True,
        class_weight: Any = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: Any = 1,
        *,
        unlabelled: Any = None,
        unlabelled_batch_size: int | None = None,
        unlabelled_share: float | None = None,
        unlabelled_repeat: bool | None = None,
    ) -> Any:
        """Trains the model as `keras.Model.fit` does, optionally with unlabelled rows.

        All arguments that do not begin with `unlabelled` are those of `keras.Model.fit`.

        With `unlabelled`, each step calls the model once, on a labelled and an unlabelled batch
        together. The data loss, the metrics and the terms that compare with the label use the
        labelled rows; label-free terms are means over all rows. The labelled rows alone determine
        the length of an epoch. Batch normalisation, dropout and losses that layers add see all
        rows.

        Unlabelled rows have their own random order; each comes once before any comes again. They
        continue where the last epoch ended, and where the last `fit` of the compiled model ended
        if it had as many per step. With `shuffle=False` they keep the given order.
        `sample_weight` does not apply to them.

        With all weights 0, unlabelled rows change only the random order of the labelled rows, as
        long as they are finite: a NaN row still turns the weights into NaN.

        A warning tells you if a callback compares weighted losses. Rows that do not count, but
        would make the gradient NaN, raise an error before the first training.

        Args:
            x: As in `keras.Model.fit`, like all arguments up to `validation_freq`.
            y: The labels.
            batch_size: Rows per step.
            epochs: Epoch after the last one.
            verbose: Verbosity.
            callbacks: Callbacks; those that add to the logs are called first.
            validation_split: Share of the rows to hold out.
            validation_data: Rows to evaluate after each epoch.
            shuffle: Whether to shuffle the rows.
            class_weight: Weights of the rows, by class.
            sample_weight: Weights of the rows: trust in their labels.
            initial_epoch: First epoch.
            steps_per_epoch: Steps in an epoch.
            validation_steps: Steps of validation.
            validation_batch_size: Rows per step of validation.
            validation_freq: Epochs between two validations.
            unlabelled: Inputs without labels, with the structure, dtypes and row shapes of `x`:
                arrays; or a `tf.data.Dataset` of batches, which continues over the epochs; or a
                sampler `(step, batch) -> inputs`, such as `UniformSampler`, where `step` is the
                number of steps taken before and `batch` the number of rows to return.
            unlabelled_batch_size: Unlabelled rows per step. Default: the labelled batch size, or 32
                if a dataset does not specify it; at most the number of rows of arrays. Leave it
                out for a `tf.data.Dataset`, which has its own batches.
            unlabelled_share: `None`: label-free terms are means over all rows. A number `s` in
                (0, 1]: they are `(1 - s)` times the mean over labelled rows plus `s` times the
                mean over unlabelled ones.
            unlabelled_repeat: Whether a `tf.data.Dataset` repeats after its end, the default; with
                `False` its end is an error.

        Returns:
            A `keras.callbacks.History`.

        Raises:
            TypeError: If unlabelled inputs differ from `x` in dtype.
            ValueError: If they differ from `x` in structure or row shape, are empty, or have no
                effect because every term needs the label.

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
        whole_number("batch_size", batch_size, optional=True)
        whole_number("validation_batch_size", validation_batch_size, optional=True)
        fit = {
            "x": x,
            "y": y,
            "batch_size": batch_size,
            "epochs": epochs,
            "verbose": verbose,
            "callbacks": arrange_callbacks(callbacks, epochs, initial_epoch),
            "validation_split": validation_split,
            "validation_data": validation_data,
            "shuffle": shuffle,
            "class_weight": class_weight,
            "sample_weight": sample_weight,
            "initial_epoch": initial_epoch,
            "steps_per_epoch": steps_per_epoch,
            "validation_steps": validation_steps,
            "validation_batch_size": validation_batch_size,
            "validation_freq": validation_freq,
        }
        before_fit(self, fit, unlabelled)
        if unlabelled is None:
            check_no_options(
                unlabelled_batch_size=unlabelled_batch_size,
                unlabelled_share=unlabelled_share,
                unlabelled_repeat=unlabelled_repeat,
            )
        elif self.compiled:  # Otherwise `super().fit` raises.
            needs_tensorflow("`fit(unlabelled=...)`")
            self.set_unlabelled_share(unlabelled_share)
            fit = pair(self, fit, unlabelled, unlabelled_batch_size, unlabelled_repeat)
        return super().fit(**fit)

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
        if self.loss is not None:
            with open_step(self, "skip"):  # Here `losses` is empty: Keras returns the data loss.
                step.data_loss = super().compute_loss(x, y, y_pred, sample_weight, training)
            losses.insert(0, step.data_loss)
        total = ops.sum(losses) if len(losses) > 1 else losses[0] if losses else None
        physics = sum_weighted(counted.values) / replica_count()
        total = physics if total is None else total + ops.cast(physics, total.dtype)
        known = {} if self.loss is None else {"data_loss": step.data_loss}
        if has_own_train_step(self):
            known[TOTAL] = total
        self._loss_means.log(counted, row_count(y_pred), known)
        return total

    def get_metrics_result(self) -> dict[str, Any]:
        """Returns the logs; raises if two values share a name."""
        check_log_names(self)
        return self._loss_means.complete(super().get_metrics_result(), self)

    @property
    def unlabelled_share(self) -> float | None:
        """Factor of the mean over unlabelled rows in terms that need no label; see `fit`."""
        return None if self._share.value is None else float(self._share.value.numpy())

    def set_unlabelled_share(self, share: float | None) -> None:
        """Sets `unlabelled_share` for the following steps; `fit` sets it from its argument."""
        check_share(share)
        if self._share.set(share) and self.train_function is not None:
            self.make_train_function(force=True)
