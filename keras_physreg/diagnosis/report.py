"""diagnose: does each term's gradient arrive, does it fight the data, is there anything to gain?"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import keras

from keras_physreg._utils.backend import needs_tensorflow
from keras_physreg._utils.errors import received, whole_number
from keras_physreg._utils.serialization import as_json
from keras_physreg.diagnosis import text
from keras_physreg.diagnosis.inputs_alone import SAMPLED_ROWS, inputs_alone, rows_of_points
from keras_physreg.diagnosis.measured import DiagnosisData
from keras_physreg.diagnosis.probe_rows import Rows, check_rows, choose_rows, labels_misfit
from keras_physreg.diagnosis.term_diagnosis import TermDiagnosis
from keras_physreg.diagnosis.thresholds import Thresholds
from keras_physreg.inspection import find_terms
from keras_physreg.layers.where_shapes import check_where_shapes
from keras_physreg.unlabelled.checks import check_no_options, check_share
from keras_physreg.unlabelled.point_sources import check_rows_for_all

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True)
class Diagnosis(DiagnosisData):
    """What `diagnose` found; print it to read it.

    Args:
        model: Name of the model.
        rows: Number of rows looked at.
        val_rows: Number of held-out rows looked at.
        data_loss: The compiled loss alone, or `None` where there are no labels or no loss.
        data_grad_norm: Norm of its gradient.
        terms: The numbers of each term.
        findings: What there is to say of them, the most severe first; empty for a healthy model.
        gradients: All inner products of the gradients.
        thresholds: The limits beyond which a number became a finding.
        constants: The numbers of each `Constant`, of a vector one by one.
        unlabelled_rows: Number of unlabelled rows looked at.
        unlabelled_share: Factor of the mean over them in the gradients of terms that need no label;
            `None`: all rows count alike.
    """

    def __getitem__(self, term: str) -> TermDiagnosis:
        """Returns the numbers of a term by its name."""
        for row in self.terms:
            if row.term == term:
                return row
        raise KeyError(f"No term {term!r}. The terms: {[row.term for row in self.terms]}.")

    def __str__(self) -> str:
        return text.as_text(self)

    def _repr_html_(self) -> str:
        return text.as_html(self)

    def to_dict(self) -> dict[str, Any]:
        """Returns everything as plain Python types, ready for JSON.

        Numbers that are NaN or infinite become `None`, as JSON has none; `"finite"` and the
        findings tell of them.

        Returns:
            A dict. `"terms"` is a list of dicts with the keys `term, loss, weight, floor, val_loss,
            val_floor, val_network, unlabelled_loss, bias, grad_norm, grad_ratio, grad_cosine,
            reached, trainable, finite`;
            `"constants"` one with `constant, value, unit, low, high, scale, grad_norm, sensitivity,
            terms`; `"findings"` one with `code, severity, term, message, cure`; `"gramian"` holds
            the inner products of the gradients, rows and columns named by `"names"`.
        """
        found = {
            "model": self.model,
            "rows": self.rows,
            "val_rows": self.val_rows,
            "unlabelled_rows": self.unlabelled_rows,
            "unlabelled_share": self.unlabelled_share,
            "data_loss": self.data_loss,
            "data_grad_norm": self.data_grad_norm,
            "terms": [row.to_dict() for row in self.terms],
            "constants": [row.to_dict() for row in self.constants],
            "findings": [dataclasses.asdict(finding) for finding in self.findings],
            "names": list(self.gradients.names),
            "gramian": self.gradients.gramian.tolist(),
            "thresholds": dataclasses.asdict(self.thresholds),
        }
        return as_json(found)

    def plot(self) -> Figure:
        """Draws weighted gradient norms, cosines, and losses against their floors.

        Returns:
            The matplotlib figure.

        Raises:
            ImportError: If matplotlib is not installed.
        """
        from keras_physreg.diagnosis.picture import plot_diagnosis

        return plot_diagnosis(self)


def diagnose(
    model: keras.Model,
    x: Any = None,
    y: Any = None,
    sample_weight: Any = None,
    batch_size: int = 32,
    max_samples: int | None = 4096,
    validation_data: Any = None,
    training: bool = False,
    thresholds: Thresholds | None = None,
    unlabelled: Any = None,
    points: Mapping[str, Any] | None = None,
    unlabelled_share: float | None = None,
) -> Diagnosis:
    """Measures what each physics term does to a model, and says what is wrong with it.

    Gradients are those of the *unweighted* losses, so that a term at weight 0 is seen too, by all
    trainable variables: ratio and cosine include the trainable constants of a physics layer. The
    cosine between gradients as a measure of conflict is that of Yu et al., "Gradient Surgery for
    Multi-Task Learning" (2020), definition 1.

    The floor of a term is its loss with the labels in place of the prediction. A term has none
    where its physics depends on the network in another way, too: it calls the network itself, or
    takes `inputs` that the network computed.

    Losses and floors of terms on some of the rows, or with a mask, are means over all that counts.
    `<term>_loss` in the logs of `fit` is a mean over batches, each by its number of rows, in which
    a batch where nothing counts is 0: such a loss may lie below the one here.

    A floor says where physics and labels disagree, not whether more weight pays. Where a term
    compares with the label or the prediction, its floor on held-out rows is set beside the loss of
    the network's own predictions there: whichever is lower knows those labels better. Of other
    terms only the held-out data loss of a sweep decides.

    At the labels it also looks for a few rows that carry the whole loss, for physics that does not
    go along with the labels or does so by a factor or an offset, and for a systematic residual.
    Intervals are exact for the rows there are; where they are too wide, it says so.

    Of each `Constant` it says whether the physics can tell its value at the present predictions,
    from how the outputs change with it, row by row. Whether the network could take its place is
    not looked at; trivial terms and solutions are found where the physics runs at other values.

    On the first batch the physics is called again: with one row changed, to see whether outputs of
    other rows move, and as in training, to see whether it moves the network's state. The model
    stays as it is, with weights, optimizer, metrics, random state and `model.losses`: training goes
    on bit for bit as it would have.

    Args:
        model: Any built Keras model with physics layers. Its compiled loss is the data loss.
        x: Inputs, array or structure of arrays of shape `(rows, ...)`; or a `tf.data.Dataset` or
            `keras.utils.PyDataset` of batches.
        y: Labels, in the structure of the model's outputs. Without them there is no data gradient
            to compare with, and no floor.
        sample_weight: Weights of the rows, of shape `(rows,)`. Rows of weight 0 have no label to
            be trusted, and are left out of floors and biases.
        batch_size: Rows in a batch.
        max_samples: Most rows to look at, drawn at random but the same each time (of a dataset
            the first ones); `None` for all.
        validation_data: Held-out `(x, y)` or `(x, y, sample_weight)`, or a dataset: tells a term
            at its floor from a memorised one, and physics that knows the labels better than the
            network from physics that knows them worse. Its labels count for biases, too.
        training: Whether dropout and batch normalisation work as in training.
        thresholds: The limits beyond which a number becomes a finding.
        unlabelled: Inputs without labels, of the structure of `x`, as in `PhysicsModel.fit`:
            arrays, a dataset of inputs, or a sampler, of which 1024 rows are taken. Terms that need
            no label are judged there too.
        points: Per term, inputs on which it alone is judged, as in `PhysicsModel.fit`: arrays, a
            dataset of inputs, or a sampler, of which 1024 rows are taken. `x` may then be `None`.
            The points of a term make one batch, as its function may compare them with one another:
            if it does, give no more points than `max_samples`.
        unlabelled_share: As in `PhysicsModel.fit`. `None`: gradients of terms that need no label
            are means over all rows. A number `s` in (0, 1]: they are `(1 - s)` times the mean over
            labelled rows plus `s` times the mean over unlabelled ones.

    Returns:
        A `Diagnosis`: `print` it, look into `findings`, `to_dict()` or `plot()`.

    Raises:
        NotImplementedError: If Keras runs on another backend than TensorFlow.
        TypeError: If `model` is no Keras model, `thresholds` no `Thresholds`, the data are no
            arrays of numbers, or the physics cannot run in a compiled step.
        ValueError: If the model has no physics terms or is not built, the data do not fit it, or
            `unlabelled_share` is not in (0, 1] or is given without `unlabelled`.

    Example:
    >>> import keras, keras_physreg as kp
    >>> encoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    >>> def balance(z, x):
    ...     return keras.ops.stop_gradient(x) - z
    >>> model = kp.regularize(encoder, balance, {"balance": 0.1})
    >>> model.compile("sgd", "mse")
    >>> report = kp.diagnose(model, keras.ops.ones((8, 2)), keras.ops.ones((8, 2)))
    >>> [(finding.code, finding.term) for finding in report.findings]
    [('disconnected', 'balance')]
    """
    needs_tensorflow("`diagnose`")
    _check_model(model)
    batch_size = whole_number("batch_size", batch_size)
    limits = Thresholds() if thresholds is None else thresholds
    if not isinstance(limits, Thresholds):
        raise TypeError(
            "`thresholds` must be a `keras_physreg.Thresholds`. "
            + received("thresholds", thresholds)
        )
    check_share(unlabelled_share)
    if unlabelled is None:
        check_no_options(unlabelled_share=unlabelled_share)
    at_points = rows_of_points("diagnose", model, points, max_samples)
    if x is None and y is None and sample_weight is None and at_points:
        check_rows_for_all(model, tuple(at_points))
        rows = next(iter(at_points.values()))
    else:
        rows = choose_rows(x, y, sample_weight, max_samples)
        check_rows("diagnose", model, rows)
    held_out = _held_out(model, validation_data, max_samples)
    others = None
    if unlabelled is not None:
        others = inputs_alone("diagnose", model, unlabelled, max_samples, "unlabelled")
    # It loads TensorFlow, which importing this package does not need.
    from keras_physreg.diagnosis.examination import examine

    try:
        found = examine(
            *(model, rows, held_out, others, batch_size, training, limits, at_points),
            unlabelled_share=unlabelled_share,
        )
    except Exception as error:
        for name, chosen in (("`y`", rows), ("the labels of `validation_data`", held_out)):
            if chosen is not None and (wrong := labels_misfit(model, chosen.y)):
                raise ValueError(f"{name} {wrong} {error}") from error
        for own in (None if x is None else rows, held_out, others):
            if own is not None:
                check_where_shapes(model, _some_of(own), frozenset(at_points))
        for term, own in at_points.items():
            check_where_shapes(model, _some_of(own), frozenset(find_terms(model)) - {term})
        raise
    return Diagnosis(**vars(found))


def _some_of(rows: Rows) -> Any:
    """Returns the inputs of some rows."""
    return next(rows.batches(SAMPLED_ROWS)).x


def _check_model(model: Any) -> None:
    if not isinstance(model, keras.Model):
        raise TypeError(f"`diagnose` needs a Keras model. {received('model', model)}")
    if not model.built:
        raise ValueError(
            f"Model '{model.name}' is not built: call it on a batch, or fit it, before `diagnose`."
        )
    if not find_terms(model):
        raise ValueError(
            f"Model '{model.name}' has no physics terms to diagnose. Call a "
            "`keras_physreg.PhysicsRegularization` layer in it, or use `keras_physreg.regularize`."
        )


def _held_out(model: keras.Model, data: Any, max_samples: int | None) -> Rows | None:
    if data is None:
        return None
    if isinstance(data, list | tuple) and not 2 <= len(data) <= 3:
        raise ValueError(
            "`validation_data` must be `(x, y)`, `(x, y, sample_weight)` or a dataset. "
            f"Received: a {type(data).__name__} of {len(data)}."
        )
    x, y, sample_weight = (
        (*data, None)[:3] if isinstance(data, list | tuple) else (data, None, None)
    )
    rows = choose_rows(x, y, sample_weight, max_samples)
    check_rows("diagnose: `validation_data`", model, rows)
    return rows
