"""refine: quasi-Newton steps on all rows, after the training with `fit`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from keras_physreg._utils.backend import needs_tensorflow
from keras_physreg._utils.errors import whole_number
from keras_physreg._utils.variables import assign
from keras_physreg.models.before_fit import before_fit
from keras_physreg.refinement import checks
from keras_physreg.refinement.course import Course, RefineHistory
from keras_physreg.refinement.full_batch import FullBatch
from keras_physreg.refinement.scipy_optimize import limited_memory_bfgs, scipy_part
from keras_physreg.refinement.self_scaled_bfgs import self_scaled_bfgs
from keras_physreg.unlabelled.checks import check_no_options, check_share

MINIMISERS = {"ssbfgs": self_scaled_bfgs, "lbfgs": limited_memory_bfgs}


def refine(
    model: keras.Model,
    x: Any = None,
    y: Any = None,
    sample_weight: Any = None,
    *,
    unlabelled: Any = None,
    unlabelled_share: float | None = None,
    points: Mapping[str, Any] | None = None,
    iterations: int = 1000,
    method: str | None = None,
    verbose: Any = "auto",
) -> RefineHistory:
    """Minimises the total loss of a trained model on all rows, by a quasi-Newton method.

    Use it after `fit`, for differential equations above all: there Adam leaves an error of
    several percent that a quasi-Newton method takes away. With few labels it learns the labelled
    rows by heart: keep rows out, and compare the error on them before and after.

    The total loss is the one that `fit` minimises: data loss, weighted terms, and the losses of
    regularizers and layers, in training mode, on all rows at once. All trainable weights of the
    model take part, `Constant`s included (their `rate` has no effect here). The term weights stay
    as they are; a term at weight 0 has no part.

    Loss and gradient are computed in float64, whatever the types of the layers, and whatever
    constants the physics contains: the traced program is rewritten. Where TensorFlow cannot run
    it in float64, or the model runs eagerly, both are computed in float32, and the steps alone in
    float64; see `precision` of the result. The model gets the weights in its own type. To keep all
    digits, build it in float64: before that, call `keras.config.set_floatx("float64")` and
    `keras.config.set_dtype_policy("float64")`.

    The model never ends with a larger loss than it began with: it gets the best weights that were
    found. Ctrl-C ends the refinement and keeps them, too. The optimizer of the model, its state
    and its count of steps stay as they are; if you go on with `fit` after a refinement, compile
    the model anew, as Adam remembers the steps before.

    Args:
        model: A compiled `PhysicsModel`. Batch normalisation must be frozen, and dropout off: the
            loss must depend on the weights alone.
        x: Inputs of all labelled rows: array or structure of arrays of shape `(rows, ...)`.
        y: Labels of these rows; `None` if the model is compiled with `loss=None` and no term needs
            the label.
        sample_weight: Weights of the rows, as in `fit`.
        unlabelled: Inputs of all unlabelled rows, arrays of the structure of `x`, as in
            `PhysicsModel.fit`.
        unlabelled_share: As in `PhysicsModel.fit`.
        points: Per term, arrays of inputs on which it is evaluated, as in `PhysicsModel.fit`; draw
            points from a sampler once: `sampler(0, 1000)`. With points for every term, `x` may be
            left out.
        iterations: Most iterations. One takes one or two evaluations of loss and gradient, each of
            which costs as much as a training step on all rows.
        method: `"ssbfgs"`: self-scaled BFGS, which holds a matrix of `8 * weights ** 2` bytes;
            `"lbfgs"`: L-BFGS of SciPy. Default: `"ssbfgs"` up to 5000 weights.
        verbose: 0 for no progress bar; 1, 2 or `"auto"` for one.

    Returns:
        A `RefineHistory`: `history` has the losses at the start and after each iteration, `loss`
        the loss of the weights that the model has at the end, `stopped` why it ended.

    Raises:
        ImportError: If SciPy is not installed.
        TypeError: If the model is no `PhysicsModel`, or the rows are no arrays.
        ValueError: If the loss is not finite at the start (the message names the term), is not
            determined by the weights alone, or trains nothing; if weights that train have a
            constraint; and for other bad arguments.

    Source:
        The method after Adam, and its effect: E. Kiyani et al., "Optimizing the optimizer for
        physics-informed neural networks and Kolmogorov-Arnold networks", arXiv 2501.16371.

    Example:
    >>> import keras, numpy as np, keras_physreg as kp
    >>> encoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    >>> model = kp.regularize(encoder, lambda z, x: 2 * x - z, {"double": 1.0})
    >>> model.compile("adam", "mse")
    >>> z = np.random.default_rng(0).normal(size=(50, 2))
    >>> done = kp.refine(model, z, z / 2, iterations=50, verbose=0)
    >>> done.loss < 1e-12 < done.history["loss"][0]
    True
    """
    needs_tensorflow("`refine`")
    checks.check_model(model)
    iterations = whole_number("iterations", iterations)
    verbose = checks.check_verbose(verbose)
    checks.check_method(method, 1)
    scipy_part("optimize")
    check_share(unlabelled_share)
    if unlabelled is None:
        check_no_options("unlabelled", unlabelled_share=unlabelled_share)
    checks.check_arrays(model, x, y, unlabelled, points)
    rows = checks.as_rows(model, x, y, sample_weight, unlabelled, points)
    fit = {"x": rows.x, "y": rows.y, "sample_weight": rows.sample_weight, "verbose": verbose}
    before_fit(model, fit, rows.unlabelled, rows.points or None)
    checks.check_trainable(model)
    batch = FullBatch(model, rows, unlabelled_share)
    checks.check_start(model, batch)
    method = checks.check_method(method, len(batch.start.weights))
    course = Course(batch, iterations, verbose)
    stopped = _minimised(course, batch, method, iterations)
    loss = _give_best(course, batch)
    precision = batch.precision + (f" ({batch.reason})" if batch.reason else "")
    return RefineHistory(course.history, loss, course.evaluations, stopped, method, precision)


def _minimised(course: Course, batch: FullBatch, method: str, iterations: int) -> str:
    """Runs a minimiser until it ends, or until Ctrl-C; returns why it stopped."""
    minimise = MINIMISERS[method]
    try:
        stopped = minimise(course.evaluate, batch.start.weights, iterations, course.accept)
    except KeyboardInterrupt:
        stopped = "interrupted by Ctrl-C"
    course.show(ended=True)
    return stopped


def _give_best(course: Course, batch: FullBatch) -> float:
    """Assigns the best weights in the types of the model, and returns their loss."""
    values = batch.split(course.best.weights)
    point = batch.at(batch.joined(values))
    if not point.loss < batch.start.loss:  # Rounding may cost more than was won.
        return batch.start.loss
    assign(batch.variables, values)
    return point.loss
