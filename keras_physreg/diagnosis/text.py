"""A diagnosis as text and as HTML: the table first, then the sentences."""

from __future__ import annotations

import html
import math

from keras_physreg._utils.text_table import text_table
from keras_physreg.constants.constant import MAX_LOGGED_ELEMENTS
from keras_physreg.diagnosis.constant_diagnosis import ConstantDiagnosis
from keras_physreg.diagnosis.measured import DiagnosisData
from keras_physreg.diagnosis.term_diagnosis import TermDiagnosis

CLEAN = "Nothing found: every term is connected and finite, and none fights the data."
CONSTANT_COLUMNS = ["constant", "value", "unit", "low", "high"]
CONSTANT_COLUMNS += ["grad norm", "sensitivity", "told by"]
PARTIAL = "Nothing found in what could be measured; the notes say what could not."


def as_text(diagnosis: DiagnosisData) -> str:
    """Returns the table, then notes and findings."""
    lines = [_title(diagnosis), ""]
    for columns, cells in _tables(diagnosis):
        lines += [*text_table(columns, cells), ""]
    lines += _notes(diagnosis)
    lines += [str(finding) for finding in diagnosis.findings] or [_nothing_found(diagnosis)]
    return "\n".join(lines)


def _tables(diagnosis: DiagnosisData) -> list[tuple[list[str], list[list[str]]]]:
    tables = [(_columns(diagnosis), _cells(diagnosis))]
    shown = [row for row in diagnosis.constants if row.size <= MAX_LOGGED_ELEMENTS]
    if shown:
        tables.append((CONSTANT_COLUMNS, [_constant_cells(row) for row in shown]))
    return tables


def as_html(diagnosis: DiagnosisData) -> str:
    """Returns the same as HTML, for notebooks."""
    tables = "".join(_html_table(*table) for table in _tables(diagnosis))
    items = [html.escape(note) for note in _notes(diagnosis)] + [
        f"<b>{html.escape(f'{finding.severity}: {finding.code}')}</b>: "
        f"{html.escape(finding.message)} <i>{html.escape(finding.cure)}</i>"
        for finding in diagnosis.findings
    ]
    said = "".join(f"<li>{item}</li>" for item in items)
    return (
        f"<p>{html.escape(_title(diagnosis))}</p>{tables}"
        + (f"<ul>{said}</ul>" if said else "")
        + ("" if diagnosis.findings else f"<p>{_nothing_found(diagnosis)}</p>")
    )


def _html_table(columns: list[str], cells: list[list[str]]) -> str:
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in line) + "</tr>"
        for line in cells
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _nothing_found(diagnosis: DiagnosisData) -> str:
    measured = all(row.trainable and row.loss is not None for row in diagnosis.terms)
    return CLEAN if measured and diagnosis.data_grad_norm is not None else PARTIAL


def _title(diagnosis: DiagnosisData) -> str:
    held_out = f", {diagnosis.val_rows} held-out rows" if diagnosis.val_rows else ""
    return f"Diagnosis of '{diagnosis.model}' on {diagnosis.rows} rows{held_out}"


def _columns(diagnosis: DiagnosisData) -> list[str]:
    held_out = ["val loss", "val floor"] if diagnosis.val_rows else []
    return [
        *["term", "weight", "loss", "weighted", "floor", *held_out],
        *["bias/sd", "grad norm", "ratio", "cosine", "reached", "finite"],
    ]


def _cells(diagnosis: DiagnosisData) -> list[list[str]]:
    rows = [_term_cells(row, bool(diagnosis.val_rows)) for row in diagnosis.terms]
    blank = [""] * (len(rows[0]) - 3)
    data = ["(data loss)", "", _number(diagnosis.data_loss), *blank]
    data[-5] = _number(diagnosis.data_grad_norm)
    return [data, *rows]


def _term_cells(row: TermDiagnosis, held_out: bool) -> list[str]:
    numbers = [row.weight, row.loss, row.weighted_loss, row.floor]
    if held_out:
        numbers += [row.val_loss, row.val_floor]
    return [
        row.term,
        *map(_number, numbers),
        _bias(row),
        _number(row.grad_norm),
        _number(row.grad_ratio),
        "-" if row.grad_cosine is None else f"{row.grad_cosine:+.2f}",
        f"{row.reached}/{row.trainable}",
        "yes" if row.finite else "NO",
    ]


def _constant_cells(row: ConstantDiagnosis) -> list[str]:
    numbers = [_number(v) for v in (row.low, row.high, row.grad_norm, row.sensitivity)]
    terms = ", ".join(row.terms) or ("-" if row.trainable else "fixed")
    return [row.constant, f"{row.value:.6g}", row.unit or "-", *numbers, terms]


def _bias(row: TermDiagnosis) -> str:
    if row.labels is None:
        return "-"
    largest = max(range(len(row.biases)), key=lambda k: abs(row.biases[k]))
    of = f" [{largest}]" if len(row.biases) > 1 else ""
    return f"{row.biases[largest]:+.2f}{of}"


def _notes(diagnosis: DiagnosisData) -> list[str]:
    notes = [f"{row.term}: {row.note}." for row in diagnosis.terms if row.note]
    if not diagnosis.gradients.variables:
        notes.append("The model has no trainable variables: there are no gradients to look at.")
    if diagnosis.data_loss is None:
        notes.append("No data loss: no labels, or no loss compiled; so no ratios and no cosines.")
    elif diagnosis.gradients.variables and diagnosis.data_grad_norm is None:
        notes.append("The data loss has no gradient; so there are no ratios and no cosines.")
    if any(len(row.biases) > 1 for row in diagnosis.terms):
        notes.append("bias/sd is that of the component in brackets, where it is the largest.")
    return notes + _notes_on_constants(diagnosis)


def _notes_on_constants(diagnosis: DiagnosisData) -> list[str]:
    sizes = {row.constant.rpartition("_")[0]: row.size for row in diagnosis.constants}
    notes = [
        f"{name}: {size} elements are too many for the table, and their sensitivities were not "
        "looked at; the values and gradients are in `constants`."
        for name, size in sizes.items()
        if size > MAX_LOGGED_ELEMENTS
    ]
    unknown = [
        row.constant
        for row in diagnosis.constants
        if row.size <= MAX_LOGGED_ELEMENTS
        and row.sensitivity is not None
        and math.isnan(row.sensitivity)
    ]
    if unknown:
        notes.append(
            f"{', '.join(unknown)}: the sensitivity is not known, as an operation has no second "
            "derivative, or no number came out; so nothing is said of whether it can be identified."
        )
    return notes


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
