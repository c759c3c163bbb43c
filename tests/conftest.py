"""Fresh Keras state: seeds and dtypes for every test, graphs and names for every file.

Keras is imported in functions: the process that hands out tests to workers does without it.
"""

import gc
import os

if "PYTEST_XDIST_WORKER" in os.environ:  # There is a worker per core.
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", "2")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import pytest

from tests import kept_graphs
from tests.ids import id_of


def pytest_collection_modifyitems(items):
    """On another backend than TensorFlow, skips what is marked as its own."""
    import keras

    if keras.backend.backend() != "tensorflow":
        reason = f"needs TensorFlow; Keras runs on {keras.backend.backend()}"
        for item in items:
            if item.get_closest_marker("tensorflow"):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Keeps a file on one worker: what its tests share is made once, and its graphs go with it."""
    if config.getvalue("dist") != "load":
        return None
    from xdist.scheduler import LoadFileScheduling

    config.option.loadscopereorder = False  # By number of tests; those of few tests are long ones.
    return LoadFileScheduling(config, log)


def pytest_collection_finish():
    """Leaves what was imported out of garbage collections, of which tracing causes many."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 50, 100)


def pytest_make_parametrize_id(val):
    """Names a test by what its arguments hold."""
    return id_of(val)


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup(fixturedef):
    """Seeds what several tests share: it depends neither on tests before it nor on their order."""
    if fixturedef.scope != "function":
        import keras

        keras.utils.set_random_seed(0)


@pytest.fixture
def quick():
    """Replicas that are quick to compile, see there."""
    from tests.quick_replicas import quick_replicas

    with quick_replicas():
        yield


@pytest.fixture(autouse=True)
def _fresh_settings():
    import keras

    keras.utils.set_random_seed(0)
    yield
    keras.config.set_dtype_policy("float32")
    keras.config.set_floatx("float32")
    # An iterator of data that is left in mid-epoch may take seconds to delete, and the longer it
    # was left the more.
    gc.collect(0)


def _rewrite_graphs(wanted):
    """Turns Grappler on or off, which takes an eighth of the time of tests."""
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": not wanted})


@pytest.fixture(autouse=True, scope="module")
def _fresh_session(request):
    """Graphs run as traced, but for files that say `REWRITTEN_GRAPHS = True`.

    These train what TensorFlow's rewriting of graphs could change: physics that is not finite,
    weights that are read and written in one step, programs that round alike. Files that say
    `REWRITTEN_GRAPHS = "slow"` have it for their slow tests.
    """
    import keras

    kept = kept_graphs.registered()
    wanted = getattr(request.module, "REWRITTEN_GRAPHS", False)
    if wanted == "slow":
        wanted = request.config.option.markexpr != "not slow"
    _rewrite_graphs(wanted)
    yield
    kept_graphs.let_go(kept)
    kept_graphs.forget_programs()
    keras.backend.clear_session()
