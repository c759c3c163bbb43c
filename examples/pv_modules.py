"""PV modules: the data and the physics that the PV examples share.

Every solar module is sold with a datasheet `Z`: current and voltage at three points of its I-V
curve, and three temperature coefficients. Simulating it needs something else, the five parameters
`x` of the single-diode model of its cells:

    I = I_L - I_o (exp((V + I R_s) / a) - 1) - (V + I R_s) / R_sh                             (1)

with voltages and resistances per cell, at 1000 W/m2 and 25 degrees C. Finding `x` from `Z` is the
job of the network; equation (1) is the physics that it should respect.

Data: the module library of the California Energy Commission, as pvlib ships it.
Sources: equation (1) at the points of a datasheet: De Soto, Klein and Beckman, "Improvement and
validation of a model for photovoltaic array performance", Solar Energy 80 (2006) 78-88; the
parameters in the library: Dobos, "An Improved Coefficient Calculator for the California Energy
Commission 6 Parameter Photovoltaic Module Model", J. Solar Energy Engineering 134 (2012) 021011.
"""

from typing import NamedTuple

import keras
import numpy as np
from keras import ops


class Quantity(NamedTuple):
    """One column: its unit, and the mean and standard deviation (sd) that standardise it."""

    name: str
    unit: str
    mean: float
    sd: float


# Rounded from the cleaned library, and written down here instead of computed from the data on
# loading: the physics in a saved model must mean the same wherever it is loaded again.
DATASHEET = (
    Quantity("I_sc", "A", 8.454, 1.156),  # short-circuit current
    Quantity("V_oc", "V per cell", 0.6293, 0.03200),  # open-circuit voltage
    Quantity("I_mp", "A", 7.911, 1.125),  # current at maximum power
    Quantity("V_mp", "V per cell", 0.5106, 0.02931),  # voltage at maximum power
    Quantity("N_s", "cells in series", 65.42, 12.05),
    Quantity("alpha", "A/K", 0.004588, 0.002230),  # temperature coefficient of I_sc
    Quantity("beta", "V/K per cell", -0.002136, 0.0002412),  # temperature coefficient of V_oc
    Quantity("gamma", "%/K", -0.4524, 0.04618),  # temperature coefficient of the maximum power
)
PARAMETERS = (
    Quantity("I_L", "A", 8.492, 1.164),  # light current
    Quantity("log I_o", "log A", -21.69, 1.353),  # saturation current of the diode
    Quantity("R_s", "ohm per cell", 0.005256, 0.001747),  # series resistance
    Quantity("log R_sh", "log(ohm per cell)", 1.797, 1.067),  # shunt resistance
    Quantity("a", "V per cell", 0.02651, 0.001610),  # modified ideality factor, n k T / q
)


def standardise(columns, quantities):
    """Stacks columns in physical units, `(...)` each, to one standardised array."""
    scaled = [(c - q.mean) / q.sd for c, q in zip(columns, quantities, strict=True)]
    return ops.stack(scaled, axis=-1)


def physical(standardised, quantities):
    """Returns the columns of a standardised array in physical units, `(...)` each."""
    return [standardised[..., i] * q.sd + q.mean for i, q in enumerate(quantities)]


# The physics.


def exp(u):
    """Exponential that stays finite in float32, and squared too, however wrong a prediction is."""
    return ops.exp(ops.clip(u, -60.0, 20.0))


def log(current):
    """Logarithm that stays finite where a wrong prediction makes a current (A) negative."""
    return ops.log(ops.maximum(current, 1e-3))


def diode_voltage(I_d, log_I_o, a):
    """Voltage (V) at which a diode carries `I_d` (A): `I_d = I_o (exp(V / a) - 1)` solved for V."""
    return a * (log(I_d + exp(log_I_o)) - log_I_o)


@keras.saving.register_keras_serializable(package="pv_modules")
def calc_reg_terms(Z, x_pred):
    """Equation (1) at the three points of the datasheet, solved without large exponentials.

    Short circuit is `V = 0, I = I_sc`; open circuit is `V = V_oc, I = 0`; maximum power is
    `V = V_mp, I = I_mp` with `d(VI)/dV = 0`. These are four equations. Each is solved for one
    column of the datasheet, and the first two for a parameter as well. True parameters give both
    back.

    Args:
        Z: Standardised datasheets, `(batch, 8)`; units and scales in `DATASHEET`.
        x_pred: Standardised parameters, `(batch, 5)`; units and scales in `PARAMETERS`.

    Returns:
        A dict. `"x"`, `(batch, 2)`: the standardised I_L and log I_o that the datasheet and the
        other parameters demand. `"z"`, `(batch, 4)`: the standardised I_sc, V_oc, I_mp and V_mp
        that the parameters demand.
    """
    I_sc, V_oc, I_mp, V_mp = physical(Z[..., :4], DATASHEET[:4])
    I_L, log_I_o, R_s, log_R_sh, a = physical(x_pred, PARAMETERS)
    # Limits a little wider than the library: no row with a wild prediction may outweigh the rest.
    a, R_sh = ops.maximum(a, 0.01), exp(ops.clip(log_R_sh, -2.5, 8.0))
    I_o = exp(log_I_o)

    # Short circuit: the light current, less what diode and shunt take.
    taken = I_o * (exp(I_sc * R_s / a) - 1.0) + I_sc * R_s / R_sh
    I_L_hat, I_sc_pred = I_sc + taken, I_L - taken

    # Open circuit: the diode takes all that the shunt leaves.
    I_d = I_L - V_oc / R_sh
    log_I_o_hat = log(I_d) - V_oc / a - ops.log1p(-exp(-V_oc / a))
    V_oc_pred = diode_voltage(I_d, log_I_o, a)

    # Maximum power: dI/dV = -I/V gives the conductance of diode and shunt, so the diode current.
    conductance = I_mp / ops.maximum(V_mp - I_mp * R_s, 0.1)
    I_d = a * (conductance - 1.0 / R_sh) - I_o
    I_mp_pred = I_L - I_d - (V_mp + I_mp * R_s) / R_sh
    V_mp_pred = diode_voltage(I_d, log_I_o, a) - I_mp * R_s

    x_hat = standardise([I_L_hat, log_I_o_hat], PARAMETERS[:2])
    Z_pred = standardise([I_sc_pred, V_oc_pred, I_mp_pred, V_mp_pred], DATASHEET[:4])
    return {"x": x_hat, "z": Z_pred}


def term_losses(Z, x, x_pred):
    """Returns both terms' mean squared errors, a dict; at `x_pred = x` they are the floors."""
    terms = calc_reg_terms(ops.convert_to_tensor(Z), ops.convert_to_tensor(x_pred))
    x_hat, Z_pred = (ops.convert_to_numpy(terms[name]) for name in ("x", "z"))
    return {
        "x": float(np.mean((x_hat - x[:, :2]) ** 2)),
        "z": float(np.mean((Z_pred - Z[:, :4]) ** 2)),
    }


# The data.


def load_library():
    """Reads the CEC library into a DataFrame: crystalline silicon, each datasheet once, 8138 rows.

    Rows with `a` outside 0.015 to 0.06 V per cell are left out: an ideal cell has 0.0257 V.
    """
    import pvlib  # here, so that a saved model can be loaded without it

    library = pvlib.pvsystem.retrieve_sam("CECMod").T
    library = library[library.Technology.isin(["Mono-c-Si", "Multi-c-Si"])]
    library = library.drop(columns=["Technology", "BIPV", "Version", "Date"]).astype(float)
    library = library[(library.a_ref / library.N_s).between(0.015, 0.06)]
    return library.drop_duplicates(["I_sc_ref", "V_oc_ref", "I_mp_ref", "V_mp_ref", "N_s"])


def load_modules():
    """Returns standardised datasheets `Z`, `(8138, 8)`, and parameters `x`, `(8138, 5)`."""
    m = load_library()
    n = m.N_s  # the library's voltages and resistances are those of all cells in series
    points = [m.I_sc_ref, m.V_oc_ref / n, m.I_mp_ref, m.V_mp_ref / n]
    Z = [*points, n, m.alpha_sc, m.beta_oc / n, m.gamma_r]
    x = [m.I_L_ref, np.log(m.I_o_ref), m.R_s / n, np.log(m.R_sh_ref / n), m.a_ref / n]
    pairs = ((Z, DATASHEET), (x, PARAMETERS))
    return tuple(ops.convert_to_numpy(standardise(c, q)).astype("float32") for c, q in pairs)


class Split(NamedTuple):
    """Pairs `(Z, x)` of disjoint rows; `unlabelled` is `Z` alone."""

    labelled: tuple
    validation: tuple
    test: tuple
    unlabelled: np.ndarray


def split(Z, x, labelled=100, unlabelled=0, seed=0):
    """Splits the modules; test (3000) and validation (1000) rows are the same for every seed.

    So nothing chosen on validation rows has seen a test row under any seed. Rows are drawn at
    random: sisters from one family stand on both sides, so errors are those within known families.
    """
    rows = np.random.default_rng(2024).permutation(len(Z))
    test, validation, rest = np.split(rows, [3000, 4000])
    rest = np.random.default_rng(seed).permutation(rest)
    if labelled + unlabelled > len(rest):
        raise ValueError(
            f"Only {len(rest)} rows are left to train on. Received: {labelled=}, {unlabelled=}"
        )
    pairs = [(Z[r], x[r]) for r in (rest[:labelled], validation, test)]
    return Split(*pairs, Z[rest[labelled : labelled + unlabelled]])
