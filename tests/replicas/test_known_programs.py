"""Programs that trained a model before, used again by other trainers of it."""

import gc
import weakref

import keras
import numpy as np
import pytest

import keras_physreg as kp
from keras_physreg.replicas import known_trainers
from keras_physreg.replicas.program import Program
from tests import kept_graphs
from tests.variants import slow_but

Z = np.random.default_rng(0).normal(size=(24, 3)).astype("float32")
X = Z[:, :2] * np.float32(0.5)
LAW = {"factor": 1.0}
TENSOR = {"offsets": keras.ops.zeros((200,))}  # Too large to be a constant of a graph.


def law(z, x):
    return LAW["factor"] * x - z[:, :2] + keras.ops.sum(TENSOR["offsets"])


def build():
    keras.utils.set_random_seed(0)
    encoder = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model = kp.regularize(encoder, law, {"law": 0.0})
    model.compile(keras.optimizers.SGD(0.1), "mse")
    return model


def fitted(model, z=Z, **more):
    trainer = kp.ReplicaTrainer(model, {"law": [0.0, 0.5]}, seeds=[1, 2])
    return trainer.fit(z, X, epochs=2, batch_size=8, verbose=0, **more).history


@pytest.fixture
def programs(quick, monkeypatch):
    """The programs that are made."""
    made = []
    build = Program.__init__

    def count(self, *arguments):
        build(self, *arguments)
        made.append(self)

    monkeypatch.setattr(Program, "__init__", count)
    return made


def assert_same(logs, others):
    assert logs.keys() == others.keys()
    for key, values in logs.items():
        np.testing.assert_array_equal(values, others[key], err_msg=key)


def test_another_trainer_of_the_model_compiles_nothing(programs):
    model = build()
    first, again = fitted(model), fitted(model)
    assert len(programs) == 1
    assert_same(first, again)
    other_rows = fitted(model, Z + 1)
    assert len(programs) == 1
    assert_same(other_rows, fitted(build(), Z + 1))


def test_a_trainer_counts_the_programs_that_it_compiled(programs):
    model = build()
    trainers = [kp.ReplicaTrainer(model, {"law": [0.0]}) for _ in range(2)]
    for trainer in trainers:
        trainer.fit(Z, X, verbose=0)
    assert [trainer.compiles for trainer in trainers] == [1, 0]


def another_loss(model):
    model.compile(model.optimizer, "mae")


def another_rate(model):
    model.optimizer.learning_rate = 0.01


def another_optimizer(model):
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")


def another_constant_in_the_physics(model):
    LAW["factor"] = 2.0


def another_tensor_in_the_physics(model):
    TENSOR["offsets"] = keras.ops.ones((200,)) / 100


CHANGES = [
    another_loss,
    another_rate,
    another_optimizer,
    another_constant_in_the_physics,
    another_tensor_in_the_physics,
]
QUICK = {another_constant_in_the_physics}


@pytest.mark.slow
@pytest.mark.parametrize("change", slow_but(QUICK, CHANGES))
def test_what_is_changed_counts(change, programs, monkeypatch):
    monkeypatch.setitem(LAW, "factor", 1.0)
    monkeypatch.setitem(TENSOR, "offsets", TENSOR["offsets"])
    model, other = build(), build()
    before = fitted(model)
    change(model)
    after = fitted(model)
    assert len(programs) == 2
    change(other)
    assert_same(after, fitted(other))
    assert not np.array_equal(before["law_loss"], after["law_loss"])


@pytest.mark.slow
def test_a_share_of_unlabelled_rows_is_part_of_the_programs(programs):
    model = build()
    shares = [fitted(model, unlabelled=Z + 1, unlabelled_share=s) for s in (0.1, 0.9, 0.9)]
    assert len(programs) == 2
    assert_same(*shares[1:])
    assert not np.array_equal(shares[0]["law_loss"], shares[1]["law_loss"])


@pytest.mark.slow
def test_a_train_step_of_its_own_is_never_left_out(programs):
    model = build()
    fitted(model)
    model.train_step = lambda data: kp.PhysicsModel.train_step(model, data)
    trainer = kp.ReplicaTrainer(model, {"law": [0.0]})
    assert "overrides `train_step`" in trainer.fit(Z, X, verbose=0).engine


@pytest.mark.slow
def test_programs_go_with_their_model(programs):
    kept = kept_graphs.registered()
    model = build()
    fitted(model)
    of_model, of_program = weakref.ref(model), weakref.ref(programs.pop())
    del model
    kept_graphs.let_go(kept)
    gc.collect()
    assert of_model() is None
    assert of_program() is None


@pytest.mark.slow
def test_few_models_have_programs_at_once(programs):
    models = [build() for _ in range(known_trainers.MAX_MODELS + 1)]
    for model in models:
        fitted(model)
    fitted(models[-1])
    assert len(programs) == len(models)
    fitted(models[0])
    assert len(programs) == len(models) + 1


@pytest.mark.slow
def test_few_kinds_of_trainings_of_a_model_are_kept(programs):
    model = build()
    batch_sizes = [4, 6, 8, 4]
    for size in batch_sizes:
        kp.ReplicaTrainer(model, {"law": [0.0]}).fit(Z, X, batch_size=size, verbose=0)
    assert known_trainers.MAX_TRAINERS == 2
    assert len(programs) == 4
