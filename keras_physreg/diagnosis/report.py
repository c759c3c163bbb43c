"""diagnose: does each term's gradient arrive, does it fight the data, is there anything to gain?"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_physreg.constants.constant import find_constants
from keras_physreg.diagnosis import text
from keras_physreg.diagnosis.connections import connection
from keras_physreg.diagnosis.constant_diagnosis import (
    ConstantDiagnosis,
    constant_rows,
    joint_gramian,
)
from keras_physreg.diagnosis.finding import SEVERITIES, Finding
from keras_physreg.diagnosis.gradients import DATA, GradientMeter, Gradients
from keras_physreg.diagnosis.probe_rows import Rows, check_count, choose_rows
from keras_physreg.diagnosis.rules_conflicts import conflicts
from keras_physreg.diagnosis.rules_constants import (
    constant_findings,
    trivial_solutions,
    trivial_terms,
)
from keras_physreg.diagnosis.rules_terms import term_findings
from keras_physreg.diagnosis.sensitivities import sensitivities
from keras_physreg.diagnosis.summaries import Measurement, measure
from keras_physreg.diagnosis.term_diagnosis import TermDiagnosis
from keras_physreg.diagnosis.thresholds import Thresholds
from keras_physreg.inspection import find_terms, get_term_weights
from keras_physreg.layers.physics_regularization import PhysicsRegularization

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True)
class Diagnosis:
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
        thresholds: From where on a number was worth a finding.
        constants: The numbers of each `Constant`, of a vector one by one.
    """

    model: str
    rows: int
    val_rows: int
    data_loss: float | None
    data_grad_norm: float | None
    terms: tuple[TermDiagnosis, ...]
    findings: tuple[Finding, ...]
    gradients: Gradients
    thresholds: Thresholds
    constants: tuple[ConstantDiagnosis, ...] = ()

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
            val_floor, bias, grad_norm, grad_ratio, grad_cosine, reached, trainable, finite`;
            `"constants"` one with `constant, value, unit, low, high, scale, grad_norm, sensitivity,
            terms`; `"findings"` one with `code, severity, term, message, cure`; `"gramian"` holds
            the inner products of the gradients, rows and columns named by `"names"`.
        """
        found = {
            "model": self.model,
            "rows": self.rows,
            "val_rows": self.val_rows,
            "data_loss": self.data_loss,
            "data_grad_norm": self.data_grad_norm,
            "terms": [row.to_dict() for row in self.terms],
            "constants": [row.to_dict() for row in self.constants],
            "findings": [dataclasses.asdict(finding) for finding in self.findings],
            "names": list(self.gradients.names),
            "gramian": self.gradients.gramian.tolist(),
            "thresholds": dataclasses.asdict(self.thresholds),
        }
        return _finite_or_none(found)

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
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    batch_size: int = 32,
    max_samples: int | None = 4096,
    validation_data: Any = None,
    training: bool = False,
    thresholds: Thresholds | None = None,
) -> Diagnosis:
    """Measures what each physics term does to a model, and says what is wrong with it.

    Gradients are those of the *unweighted* losses, so that a term at weight 0 is seen too, by all
    trainable variables: ratio and cosine include the trainable constants of a physics layer. The
    floor of a term is its loss when the labels stand in for the prediction. Of each `Constant` it
    says whether the physics can tell its value at the present predictions, from how the outputs
    change with it, row by row; whether the network could take its place is not looked at, and
    trivial terms and solutions only where the physics runs at other values, too. Weights,
    optimizer, metrics, random state and `model.losses` stay as they are: training goes on bit for
    bit as it would have. The cosine between gradients as a measure of conflict is that of Yu et
    al., "Gradient Surgery for Multi-Task Learning" (2020), definition 1.

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
            at its floor from a memorised one.
        training: Whether dropout and batch normalisation work as in training.
        thresholds: From where on a number is worth a finding.

    Returns:
        A `Diagnosis`: `print` it, look into `findings`, `to_dict()` or `plot()`.

    Raises:
        TypeError: If `model` is no Keras model, `thresholds` no `Thresholds`, or the physics
            cannot run in a compiled step.
        ValueError: If the model has no physics terms or is not built, or the data do not fit.

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
    _check_model(model)
    check_count("batch_size", batch_size)
    limits = Thresholds() if thresholds is None else thresholds
    if not isinstance(limits, Thresholds):
        raise TypeError(
            "`thresholds` must be a `keras_physreg.Thresholds`. "
            f"Received: thresholds={thresholds!r} (of type {type(thresholds)})"
        )
    meter = GradientMeter(model, training, in_full=True)
    chosen = choose_rows(x, y, sample_weight, max_samples)
    seen = measure(meter, chosen, batch_size)
    held_out = _held_out(model, validation_data, max_samples, batch_size)
    gradients = meter.result()
    layers = find_terms(model)
    rows = tuple(
        _row(model, layer, name, seen, held_out, gradients, meter.notes.get(name))
        for name, layer in layers.items()
    )
    found = [*_weightless(chosen), *_data_findings(seen.data_loss, gradients)]
    found += [finding for row in rows for finding in term_findings(row, limits)]
    found += conflicts(rows, gradients, limits)
    constants, of_constants = _look_at_constants(model, chosen, batch_size, gradients, limits)
    found += of_constants
    found.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    return Diagnosis(
        model=model.name,
        rows=seen.rows,
        val_rows=held_out.rows,
        data_loss=seen.data_loss,
        data_grad_norm=gradients.norm(DATA),
        terms=rows,
        findings=tuple(found),
        gradients=gradients,
        thresholds=limits,
        constants=constants,
    )


def _finite_or_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite_or_none(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_finite_or_none(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _check_model(model: Any) -> None:
    if not isinstance(model, keras.Model):
        raise TypeError(
            f"`diagnose` takes a Keras model. Received: model={model!r} (of type {type(model)})"
        )
    if not model.built:
        raise ValueError(
            f"Model '{model.name}' is not built: call it on a batch, or fit it, before `diagnose`."
        )
    if not find_terms(model):
        raise ValueError(
            f"Model '{model.name}' has no physics terms to diagnose. Call a "
            "`keras_physreg.PhysicsRegularization` layer in it, or use `keras_physreg.regularize`."
        )


def _held_out(
    model: keras.Model, data: Any, max_samples: int | None, batch_size: int
) -> Measurement:
    if data is None:
        return Measurement(0, None, {}, {})
    if isinstance(data, (list, tuple)) and not 2 <= len(data) <= 3:
        raise ValueError(
            "`validation_data` must be `(x, y)`, `(x, y, sample_weight)` or a dataset. "
            f"Received: a {type(data).__name__} of {len(data)}."
        )
    x, y, sample_weight = (
        (*data, None)[:3] if isinstance(data, (list, tuple)) else (data, None, None)
    )
    meter = GradientMeter(model, in_full=True, differentiate=False)
    return measure(meter, choose_rows(x, y, sample_weight, max_samples), batch_size)


def _row(
    model: keras.Model,
    layer: PhysicsRegularization,
    name: str,
    seen: Measurement,
    held_out: Measurement,
    gradients: Gradients,
    note: str | None,
) -> TermDiagnosis:
    weight = get_term_weights(model)[name]
    norm, data_norm = gradients.norm(name), gradients.norm(DATA)
    return TermDiagnosis(
        term=name,
        weight=weight,
        grad_norm=norm,
        grad_ratio=weight * norm / data_norm if norm is not None and data_norm else None,
        grad_cosine=gradients.cosine(DATA, name),
        reached=sum(gradients.connected[name]),
        trainable=len(gradients.variables),
        connection=connection(model, layer, name, gradients),
        here=seen.at_prediction.get(name),
        labels=seen.at_labels.get(name),
        val_here=held_out.at_prediction.get(name),
        val_labels=held_out.at_labels.get(name),
        note=note,
    )


def _look_at_constants(
    model: keras.Model, rows: Rows, batch_size: int, gradients: Gradients, limits: Thresholds
) -> tuple[tuple[ConstantDiagnosis, ...], list[Finding]]:
    constants = sorted(find_constants(model), key=lambda constant: not constant.trainable)
    learned = [constant for constant in constants if constant.trainable]
    moved = sensitivities(model, learned, rows, batch_size) if learned else None
    gramian = np.zeros((0, 0)) if moved is None else joint_gramian(moved, get_term_weights(model))
    table = constant_rows(model, constants, gradients, moved, gramian)
    found = [*constant_findings(table, gramian, limits)]
    if moved is not None:
        found += [*trivial_terms(moved), *trivial_solutions(moved, limits)]
    return table, found


def _weightless(rows: Rows) -> list[Finding]:
    weights = [w for w in keras.tree.flatten(rows.sample_weight) if w is not None]
    if not weights or any(w[rows.numbers].any() for w in weights):
        return []
    return [
        Finding(
            "weightless",
            "warning",
            DATA,
            f"All {len(rows.numbers)} rows have `sample_weight` 0: the data loss, and each term "
            "that compares with the label, is 0 whatever the model predicts.",
            "Give rows whose labels count, or leave `sample_weight` out.",
        )
    ]


def _data_findings(loss: float | None, gradients: Gradients) -> list[Finding]:
    norm = gradients.norm(DATA)
    if loss is None or norm is None or (math.isfinite(loss) and math.isfinite(norm)):
        return []
    return [
        Finding(
            "non-finite",
            "error",
            DATA,
            f"The data loss is {loss:.3g} and the norm of its gradient {norm:.3g}.",
            "Look for NaN in the inputs, the labels and the weights of the model.",
        )
    ]
