"""Measured sunlight: the data and the physics that the irradiance examples share.

Three instruments look at the sky: GHI is what falls on level ground, DNI what comes straight from
the sun on a surface facing it, DHI what comes from the rest of the sky, all in W/m2. At the zenith
angle z of the sun they must close:

    GHI = DNI cos z + DHI                                                                       (1)

A network takes GHI and cos z and splits it into DNI and DHI, x = (DNI, DHI).
Source of equation (1): Duffie and Beckman, "Solar Engineering of Thermal Processes", section 2.
The files, their sources and licences: data/solar_closure/README.md.
"""

from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

FOLDER = Path(__file__).parent / "data" / "solar_closure"
FILES = {  # from labels that close to labels that do not
    "TMY3 Greensboro": "tmy3_greensboro.csv",
    "SURFRAD Alamosa": "surfrad_alamosa_20160101.csv",
    "RMIS 2022": "rmis_2022_measured.csv",
    "RMIS 2019": "rmis_2019_measured.csv",
}
KW = 1000.0  # the network sees kW/m2


class Irradiance(NamedTuple):
    """Z: GHI (kW/m2) and cos z, `(rows, 2)`; x: DNI and DHI (kW/m2), `(rows, 2)`."""

    Z: np.ndarray
    x: np.ndarray


def load(name):
    """Returns the rows of one file, in the order of time."""
    table = np.genfromtxt(
        FOLDER / FILES[name], delimiter=",", names=True, dtype=None, encoding=None
    )
    Z = np.stack([table["ghi"] / KW, table["cosz"]], axis=-1)
    x = np.stack([table["dni"], table["dhi"]], axis=-1) / KW
    return Irradiance(Z.astype("float32"), x.astype("float32"))


def split(data, held_out=0.3, seed=0):
    """Returns rows drawn at random to train on, and the rest."""
    rows = np.random.default_rng(seed).permutation(len(data.Z))
    rest, train = np.split(rows, [int(held_out * len(rows))])
    return Irradiance(data.Z[train], data.x[train]), Irradiance(data.Z[rest], data.x[rest])


@keras.saving.register_keras_serializable(package="irradiance")
def closure(Z, x_pred):
    """Returns the GHI (kW/m2) that DNI and DHI add up to, less the measured one: equation (1)."""
    return {"closure": x_pred[:, 0] * Z[:, 1] + x_pred[:, 1] - Z[:, 0]}


def relative_error(data):
    """Returns the root mean square residual of equation (1) at the labels, over the mean GHI."""
    residual = ops.convert_to_numpy(closure(data.Z, data.x)["closure"])
    return float(np.sqrt(np.mean(residual**2)) / np.mean(data.Z[:, 0]))
