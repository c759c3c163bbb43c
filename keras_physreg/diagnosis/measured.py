"""DiagnosisData: everything that a diagnosis found, as data."""

from __future__ import annotations

import dataclasses

from keras_physreg.diagnosis.constant_diagnosis import ConstantDiagnosis
from keras_physreg.diagnosis.finding import Finding
from keras_physreg.diagnosis.gradient_products import Gradients
from keras_physreg.diagnosis.term_diagnosis import TermDiagnosis
from keras_physreg.diagnosis.thresholds import Thresholds


@dataclasses.dataclass(frozen=True)
class DiagnosisData:
    """What `diagnose` found; `Diagnosis`, which adds views of it, describes the fields."""

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
    unlabelled_rows: int = 0
    unlabelled_share: float | None = None
