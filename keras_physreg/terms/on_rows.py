"""on_rows: a physics output that counts on some of the rows only."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, eq=False)
class OnRows:
    """What `on_rows` returns.

    Args:
        values: The physics output.
        where: Which of its values count.
    """

    values: Any
    where: Any


def on_rows(values: Any, where: Any) -> OnRows:
    """Returns a physics output whose term is a mean over some of the rows, or time steps.

    Return it from the physics in the place of the output. The term's loss is
    `sum(where * sample_weight * loss per value) / sum(where)`, and 0 if `where` holds nowhere in
    the batch. What is left out may be NaN or infinite. Its derivative may not: a row that is left
    out still sends 0 times its derivative back through the physics, which is NaN where the
    derivative is infinite, as that of `p / q` at `q = 0`. `fit` and `diagnose` look for such rows.
    Replace `q` there before you divide, or use `PhysicsTerm(where=...)`, with which the physics
    never sees these rows.

    Args:
        values: Tensor of shape `(batch, ...)`: the output of the physics for one term.
        where: Boolean tensor, or weights >= 0, of the shape of `values` without some of the last
            axes: `(batch,)` chooses rows, `(batch, steps)` time steps, the full shape single
            values. No gradient flows through it.

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
