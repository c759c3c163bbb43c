import matplotlib
import numpy as np
import pytest

import keras_physreg as kp
from keras_physreg.diagnosis.picture import plot_gradient_history
from tests.diagnosis.linear import data, linear_model

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def _close():
    yield
    matplotlib.pyplot.close("all")


def physics(z, x):
    return {"a": x - 2 * z[:, :2], "off": x, "nan": x / 0}


@pytest.fixture
def report():
    z, x = data()
    model = linear_model(physics, {"a": 0.3, "off": 0.0, "nan": 1.0})
    return kp.diagnose(model, z, x, validation_data=(z[:20], x[:20]))


def test_diagnosis(report):
    figure = report.plot()
    norms, cosines, floors = figure.axes
    bars = [bar.get_width() for bar in norms.patches]
    np.testing.assert_allclose(bars[0], report.data_grad_norm)
    np.testing.assert_allclose(bars[1], 0.3 * report["a"].grad_norm)
    assert np.isnan(bars[2:]).all()
    assert [text.get_text() for text in norms.texts] == ["0", "nan"]
    assert norms.get_xscale() == "log"
    np.testing.assert_allclose(cosines.patches[0].get_width(), report["a"].grad_cosine)
    assert cosines.texts[0].get_text().strip() == "undefined"
    losses, floor, val_losses, val_floor = (line.get_xdata()[0] for line in floors.lines)
    row = report["a"]
    assert (losses, floor, val_losses, val_floor) == (
        row.loss,
        row.floor,
        row.val_loss,
        row.val_floor,
    )
    assert [label.get_text() for label in floors.get_yticklabels()] == ["a", "off", "nan"]
    assert all(ax.get_xlabel() for ax in figure.axes)


def test_gradient_history_of_a_monitor_and_of_fit():
    z, x = data()
    model = linear_model(lambda z, x: x - 2 * z[:, :2], {"t": 0.3})
    monitor = kp.GradientMonitor(z, x, every=2)
    logs = model.fit(z, x, epochs=5, callbacks=[monitor], verbose=0).history
    norm, ratio, cosine = (ax.lines[0] for ax in monitor.plot().axes)
    np.testing.assert_array_equal(norm.get_xdata(), [0, 2, 4])
    np.testing.assert_allclose(norm.get_ydata(), logs["t_grad_norm"])
    np.testing.assert_allclose(ratio.get_ydata(), logs["t_grad_ratio"])
    np.testing.assert_allclose(cosine.get_ydata(), logs["t_grad_cosine"])
    np.testing.assert_array_equal(
        plot_gradient_history(logs).axes[0].lines[0].get_xdata(), [0, 1, 2]
    )


def test_zeros_leave_the_log_axis():
    history = {"t_grad_norm": [1.0, 2.0], "t_grad_ratio": [0.0, 0.1], "t_grad_cosine": [0, -1]}
    _, ratio, cosine = plot_gradient_history(history).axes
    assert ratio.get_yscale() == "log"
    assert np.isnan(ratio.lines[0].get_ydata()[0])
    np.testing.assert_array_equal(cosine.lines[0].get_ydata(), [0, -1])


@pytest.mark.parametrize(
    ("history", "epochs", "message"),
    [
        ({"loss": [1.0]}, None, r"no gradients to draw: .*\['loss'\]"),
        ({"t_grad_norm": [1.0]}, [0, 1], "2 epochs for 1 measurements"),
    ],
)
def test_bad_history(history, epochs, message):
    with pytest.raises(ValueError, match=message):
        plot_gradient_history(history, epochs)
