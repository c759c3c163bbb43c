"""Runs every Python block of the guides: `python -m pytest examples/guides`.

Each block is a test, named by its line. The blocks of a page share one namespace, in the order of
the page, and write into a temporary folder.
"""

import os
import tempfile

from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser


def open_page(namespace):
    """Seeds Keras, draws off screen and enters a temporary folder, before a page's first block."""
    os.environ["MPLBACKEND"] = "Agg"
    import keras

    keras.utils.set_random_seed(0)
    folder = tempfile.TemporaryDirectory()
    namespace["_page"] = folder, os.getcwd()
    os.chdir(folder.name)


def close_page(namespace):
    """Leaves the folder; closes figures and graphs, after a page's last block."""
    import keras
    from matplotlib import pyplot

    folder, before = namespace.pop("_page")
    os.chdir(before)
    folder.cleanup()
    pyplot.close("all")
    keras.backend.clear_session()


pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser()], pattern="*.md", setup=open_page, teardown=close_page
).pytest()
