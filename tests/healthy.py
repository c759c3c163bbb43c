"""Checks that `diagnose` finds no error in the models of the README and the examples."""

import keras_physreg as kp


def errors(model, inputs, labels, **options):
    """The findings of severity "error" of a compiled model."""
    report = kp.diagnose(model, inputs, labels, **options)
    return [str(finding) for finding in report.findings if finding.severity == "error"]


def assert_no_error(model, inputs, labels, **options):
    assert errors(model, inputs, labels, **options) == []
