"""Terms that live on rows without labels are judged there, too."""

import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import keras_physreg as kp
from tests.diagnosis.linear import closed_form, linear_model
from tests.diagnosis.linear import data as random_data
from tests.diagnosis.setups import data, law, model_of
from tests.variants import slow_but


def only_far_out(z, p):
    """An equation that holds on the labelled rows: the first input must be above 10 to matter."""
    return (p - law(z)) * ops.cast(z[:, :1] > 10, "float32")


def far(rows=30):
    z, _ = data(rows, 5)
    z[:, 0] += 20
    return z


@pytest.mark.slow
def test_a_term_at_0_on_the_labelled_rows_is_judged_on_the_others():
    z, x = data(50, 0)
    model = model_of(only_far_out, {"t": 50.0}, 0)
    assert kp.diagnose(model, z, x)["t"].loss == 0
    report = kp.diagnose(model, z, x, unlabelled=far())
    row = report["t"]
    kernel, bias = model.layers[1].get_weights()
    expected = np.mean((far() @ kernel + bias - np.asarray(law(far()))) ** 2)
    assert row.unlabelled_loss == pytest.approx(expected, rel=1e-5)
    assert (report.rows, report.unlabelled_rows) == (50, 30)
    assert "dominates" in [f.code for f in report.findings]
    assert "30 unlabelled rows" in " ".join(str(report).split())
    assert report.to_dict()["terms"][0]["unlabelled_loss"] == pytest.approx(expected, rel=1e-5)


def test_the_gradient_is_that_of_the_mean_over_all_rows():
    z, x = random_data(40)
    others, _ = random_data(24, seed=3)
    model = linear_model(lambda z, p: p - 2 * z[:, :2], {"t": 0.3})
    both = np.concatenate([z, others])
    report = kp.diagnose(model, z, x, unlabelled=others, batch_size=16)
    loss, gradient = closed_form(model, both, 2 * both[:, :2])
    data_loss, by_data = closed_form(model, z, x)
    assert report["t"].grad_norm == pytest.approx(np.linalg.norm(gradient), rel=1e-4)
    assert report.data_grad_norm == pytest.approx(np.linalg.norm(by_data), rel=1e-4)
    row = report["t"]
    pooled = (40 * row.loss + 24 * row.unlabelled_loss) / 64
    assert (report.data_loss, pooled) == pytest.approx((data_loss, loss), rel=1e-5)


@pytest.mark.slow
def test_terms_that_need_the_label_keep_to_the_labelled_rows():
    z, x = random_data(40)
    terms = [kp.PhysicsTerm("label", "target"), kp.PhysicsTerm("free")]
    model = linear_model(lambda z, p: {"label": 0.5 * p, "free": p - z[:, :2]}, terms)
    with_others = kp.diagnose(model, z, x, unlabelled=random_data(24, seed=3)[0])
    alone = kp.diagnose(model, z, x)
    assert with_others["label"].grad_norm == pytest.approx(alone["label"].grad_norm, rel=1e-6)
    assert with_others["label"].unlabelled_loss is None
    assert with_others["label"].note is None
    assert with_others["free"].floor == pytest.approx(alone["free"].floor, rel=1e-6)


@pytest.mark.parametrize("kind", slow_but({"sampler"}, ["dataset", "sampler"]))
def test_other_sources_of_rows(kind):
    z, x = data(50, 0)
    model = model_of(only_far_out, {"t": 1.0}, 0)
    sources = {
        "dataset": tf.data.Dataset.from_tensor_slices(far()).batch(8),
        "sampler": kp.UniformSampler([11.0, 0.0, 0.0], [12.0, 1.0, 1.0]),
    }
    report = kp.diagnose(model, z, x, unlabelled=sources[kind])
    assert report.unlabelled_rows == {"dataset": 30, "sampler": 1024}[kind]
    assert report["t"].unlabelled_loss > 0


@pytest.mark.slow
def test_what_is_not_finite_there_is_told():
    z, x = data(50, 0)
    report = kp.diagnose(
        model_of(lambda z, p: p - ops.log(z[:, :1]), {"t": 1.0}, 0),
        np.abs(z) + 1,
        x,
        unlabelled=-np.abs(z) - 1,
    )
    finding = report.findings[0]
    assert finding.code == "non-finite"
    assert "on the unlabelled rows is nan: 50 row(s)" in finding.message


@pytest.mark.slow
def test_a_weight_that_does_nothing_there_is_told():
    z, x = data(50, 0)
    report = kp.diagnose(model_of(only_far_out, {"t": 1e-9}, 0), z, x, unlabelled=far())
    assert [f.code for f in report.findings] == ["negligible"]


@pytest.mark.slow
def test_a_term_with_values_there_alone_is_told_once():
    def physics(z, p):
        return ops.log(-(tf.boolean_mask(p, z[:, 0] > 10) ** 2) - 1)

    z, x = data(50, 0)
    report = kp.diagnose(model_of(physics, {"t": 1.0}, 0), z, x, unlabelled=far())
    (finding,) = [each for each in report.findings if each.code == "non-finite"]
    assert "on the unlabelled rows is nan" in finding.message


def test_bad_input():
    z, x = data(20, 0)
    model = model_of(only_far_out, {"t": 1.0}, 0)
    with pytest.raises(ValueError, match=r"`unlabelled`: model .* takes inputs `x` of shape"):
        kp.diagnose(model, z, x, unlabelled=z[:, :2])
    labelled = tf.data.Dataset.from_tensor_slices((z, x)).batch(8)
    with pytest.raises(ValueError, match=r"`unlabelled` takes inputs alone"):
        kp.diagnose(model, z, x, unlabelled=labelled)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.25, 1.0])
def test_a_share_counts_as_in_fit(share):
    z, x = random_data(40)
    others, _ = random_data(24, seed=3)
    terms = [kp.PhysicsTerm("label", "target"), kp.PhysicsTerm("free", weight=0.3)]
    model = linear_model(lambda z, p: {"label": 0.5 * p, "free": p - 2 * z[:, :2]}, terms)
    alone = kp.diagnose(model, z, x)
    report = kp.diagnose(model, z, x, unlabelled=others, unlabelled_share=share, batch_size=16)
    _, labelled = closed_form(model, z, 2 * z[:, :2])
    _, unlabelled = closed_form(model, others, 2 * others[:, :2])
    _, by_data = closed_form(model, z, x)
    gradient = (1 - share) * labelled + share * unlabelled
    norm = np.linalg.norm(gradient)
    assert report["free"].grad_norm == pytest.approx(norm, rel=1e-4)
    cosine = gradient @ by_data / norm / np.linalg.norm(by_data)
    assert report["free"].grad_cosine == pytest.approx(cosine, abs=1e-4)
    assert report["free"].grad_ratio == pytest.approx(
        0.3 * norm / np.linalg.norm(by_data), rel=1e-4
    )
    assert report["label"].grad_norm == pytest.approx(alone["label"].grad_norm, rel=1e-6)
    assert report.data_grad_norm == pytest.approx(alone.data_grad_norm, rel=1e-6)
    assert report.unlabelled_share == report.to_dict()["unlabelled_share"] == share
    assert f"plus {share:g} times that over unlabelled ones" in " ".join(str(report).split())


@pytest.mark.slow
def test_a_term_that_counts_by_its_share_alone_is_judged_so():
    """A term at 0 on the labelled rows that drowns the data on the others, but for its share."""
    z, x = data(50, 0)
    model = model_of(only_far_out, {"t": 1.0}, 0)
    norms = [
        kp.diagnose(model, z, x, unlabelled=far(), unlabelled_share=share)["t"].grad_norm
        for share in (None, 0.01, 1.0)
    ]
    assert norms[1:] == pytest.approx([0.01 * norms[2], norms[0] * 80 / 30], rel=1e-4)


@pytest.mark.parametrize(
    ("share", "told"),
    [(0.0, "above 0 and up to 1"), (1.5, "share=1.5"), (True, "above 0"), ("half", "'half'")],
)
def test_a_bad_share_is_told(share, told):
    z, x = data(20, 0)
    model = model_of(only_far_out, {"t": 1.0}, 0)
    with pytest.raises(ValueError, match=f"`unlabelled_share` must be None .*{told}"):
        kp.diagnose(model, z, x, unlabelled=far(), unlabelled_share=share)


def test_a_share_without_unlabelled_rows_is_told():
    z, x = data(20, 0)
    with pytest.raises(ValueError, match=r"need `unlabelled`.*unlabelled_share"):
        kp.diagnose(model_of(only_far_out, {"t": 1.0}, 0), z, x, unlabelled_share=0.5)
