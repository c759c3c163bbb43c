"""on_rows: a physics output that counts on some rows only."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, eq=False)
class OnRows:
    """The result of `on_rows`.

    Args:
        values: The physics output.
        where: Weights of its values, or whether they count.
    """

    values: Any
    where: Any


def on_rows(values: Any, where: Any) -> OnRows:
    """Returns a physics output whose term is a mean over some rows or time steps.

    Return it from the physics in place of the output. The term's loss is
    `sum(where * sample_weight * loss per value) / sum(where)`, and 0 if no value of the batch
    counts. Values that do not count may be NaN or infinite, but their derivatives must be finite:
    the gradient of such a value is 0 times its derivative, which is NaN if the derivative is
    infinite, as for `p / q` at `q = 0`. `fit` and `diagnose` look for such rows. Replace `q` there
    before you divide, or use `PhysicsTerm(where=...)`, with which the physics never gets these
    rows.

    Args:
        values: Tensor of shape `(batch, ...)`: the output of the physics for one term.
        where: Boolean tensor, or weights >= 0, of the shape of `values` or of its first axes:
            `(batch,)` selects rows, `(batch, steps)` time steps, the full shape single values. No
            gradient flows through it.

    Returns:
        An object that only `PhysicsRegularization` reads.

    Example:
    >>> import keras, keras_physreg as kp
    >>> def pump(z, x_pred):  # z: flow in m3/s and power in W; x_pred: efficiency
    ...     flow, power = z[:, :1], z[:, 1:]
    ...     head = power / keras.ops.where(flow > 0, flow, 1.0)
    ...     return {"head": kp.on_rows(x_pred * head - 9.81e4, where=flow > 0)}
    >>> z = keras.Input((2,))
    >>> x = keras.layers.Dense(1)(z)
    >>> model = kp.PhysicsModel(z, kp.PhysicsRegularization(pump, {"head": 1e-10})(z, x))
    """
    return OnRows(values, where)
