"""FitModel: a Keras model whose `fit` takes unlabelled rows and point sets."""

from collections.abc import Mapping
from typing import Any

import keras

from keras_physreg._utils.backend import needs_tensorflow
from keras_physreg._utils.errors import whole_number
from keras_physreg.models.before_fit import before_fit
from keras_physreg.models.callback_order import arrange_callbacks
from keras_physreg.models.fit_points import GivenRows, fitting_points
from keras_physreg.models.weight_moves import WeightMoves
from keras_physreg.unlabelled.checks import check_no_options, check_share
from keras_physreg.unlabelled.fit_arguments import pair
from keras_physreg.unlabelled.point_sets import ModelPoints
from keras_physreg.unlabelled.share import UnlabelledShare


class FitModel(keras.Model):
    """The part of `PhysicsModel` that trains it; see there."""

    _share: UnlabelledShare
    _points: ModelPoints
    _moves: WeightMoves

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
        points: Mapping[str, Any] | None = None,
        points_batch_size: int | Mapping[str, int] | None = None,
        validation_points: Mapping[str, Any] | None = None,
    ) -> Any:
        """Trains the model as `keras.Model.fit` does, optionally with unlabelled rows or points.

        All arguments up to `validation_freq` are those of `keras.Model.fit`.

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

        With `points`, each step also calls the model on the points of each term, in the same call.
        A term that has points is the mean over them alone; other terms are computed on the other
        rows. Without labelled rows (`x=None`) every term needs points, there is no data loss, and
        an epoch has 100 steps unless you give `steps_per_epoch`. Up to 100 steps then run as one
        program, unless you give `steps_per_execution` in `compile` or a callback acts after each
        batch: a call of Keras costs as much as a small step. Beside few labelled rows, give
        `steps_per_epoch=100` and `batch_size` yourself: with points, labelled arrays then repeat
        until an epoch has its steps, and as many steps run as one program. (Without `batch_size`,
        Keras divides the rows by the steps.)

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
            points: Per term, inputs on which it is evaluated: arrays, a sampler `(step, batch) ->
                inputs` or a `tf.data.Dataset` of batches. The physics must compute this term
                alone: give `PhysicsRegularization` a dict of functions.
            points_batch_size: Points per step: a number for all terms, or a dict of numbers by
                term. `None`, or no fewer than an array has: all points of an array in every step,
                which then stay on the device. A sampler needs a number, a dataset has its own.
            validation_points: Per term, arrays on which `val_<term>_loss` is computed. Terms that
                have `points`, but none here, are left out of the validation.

        Returns:
            A `keras.callbacks.History`.

        Raises:
            TypeError: If unlabelled inputs or points differ from the model's inputs in dtype.
            ValueError: If they differ in structure or row shape, are empty, or have no effect
                because every term needs the label; or if the physics of a term that has points
                computes other terms, too.

        Example:
        >>> import keras, numpy as np, keras_physreg as kp
        >>> encoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
        >>> model = kp.regularize(encoder, lambda z, x: 2 * x - z, {"double": 1.0})
        >>> model.compile("sgd", "mse")
        >>> z = np.random.default_rng(0).normal(size=(1000, 2))
        >>> history = model.fit(z[:10], z[:10] / 2, unlabelled=z[10:], verbose=0)
        >>> sorted(history.history)
        ['data_loss', 'double_loss', 'loss', 'physics_loss']

        A differential equation has no labels, and points of its own for each condition:

        >>> z = keras.Input((1,))
        >>> conditions = {"law": lambda z, u: u - z**2, "wall": lambda z, u: u - 1.0}
        >>> layer = kp.PhysicsRegularization(conditions, {"law": 1.0, "wall": 10.0})
        >>> model = kp.PhysicsModel(z, layer(z, keras.layers.Dense(1)(z)))
        >>> model.compile("adam", loss=None)
        >>> points = {"law": np.linspace(0, 1, 50)[:, None], "wall": np.ones((1, 1))}
        >>> history = model.fit(points=points, epochs=2, verbose=0)
        >>> int(model.optimizer.iterations), sorted(history.history)
        (200, ['law_loss', 'loss', 'physics_loss', 'wall_loss'])
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
        given = GivenRows(
            points,
            points_batch_size,
            validation_points,
            unlabelled,
            unlabelled_batch_size,
            unlabelled_repeat,
        )
        with self._moves.fitting(self):
            return self._fit_on(fit, given, unlabelled_share)

    def _fit_on(self, fit: dict[str, Any], given: GivenRows, share: float | None) -> Any:
        before_fit(self, fit, given.unlabelled, given.points)
        if given.unlabelled is None:
            check_no_options(
                unlabelled_batch_size=given.unlabelled_batch_size,
                unlabelled_share=share,
                unlabelled_repeat=given.unlabelled_repeat,
            )
        if given.points is None:
            check_no_options("points", points_batch_size=given.points_batch_size)
        has_points = given.points is not None or given.validation_points is not None
        if not self.compiled or (given.unlabelled is None and not has_points):
            return super().fit(**fit)  # It raises if the model is not compiled.
        needs_tensorflow(f"`fit({'points' if has_points else 'unlabelled'}=...)`")
        if given.unlabelled is not None:
            self.set_unlabelled_share(share)
        if has_points:
            with fitting_points(self, fit, given) as arguments:
                return super().fit(**arguments)
        options = (given.unlabelled_batch_size, given.unlabelled_repeat)
        return super().fit(**pair(self, fit, given.unlabelled, *options))

    @property
    def unlabelled_share(self) -> float | None:
        """Factor of the mean over unlabelled rows in terms that need no label; see `fit`."""
        return None if self._share.value is None else float(self._share.value.numpy())

    def set_unlabelled_share(self, share: float | None) -> None:
        """Sets `unlabelled_share` for the following steps; `fit` sets it from its argument."""
        check_share(share)
        if self._share.set(share) and self.train_function is not None:
            self.make_train_function(force=True)
