"""The functional subclass of `PhysicsModel`, which `PhysicsModel(inputs, outputs)` builds."""

import warnings
from typing import Any

import keras

from keras_physreg._utils.names import check_unique
from keras_physreg._utils.owners import with_sublayers
from keras_physreg.layers.physics_regularization import physics_layers
from keras_physreg.models.functional import (
    Functional,
    has_trainable_inputs,
    next_name,
    origin_names,
)
from keras_physreg.models.physics_model import PhysicsModel


# `keras.Model` makes a subclass functional by changing the bases of all its ancestors. A later
# subclass of `PhysicsModel` with its own `call` would then break, hence this separate class.
@keras.saving.register_keras_serializable(package="keras_physreg")
class FunctionalPhysicsModel(PhysicsModel, Functional):
    """The class of `PhysicsModel(inputs, outputs)`; see `PhysicsModel`."""

    # By this signature Keras recognises a functional class when it saves and clones a model.
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if len(args) < 3 and kwargs.get("name") is None:
            kwargs["name"] = next_name()
        super().__init__(*args, **kwargs)
        layers = physics_layers(self)
        if not layers:
            warnings.warn(
                f"Model '{self.name}' has no physics. Make the result of the "
                "`PhysicsRegularization` layer an output, or Keras leaves the layer out.",
                stacklevel=2,
            )
        names = [name for layer in layers for name in layer.term_names]
        check_unique("physics terms", names, f"model '{self.name}'")
        self.output_names = origin_names(self)
        # Their `id`s, because Keras would track layers in an attribute as parts of the model.
        nested = [part for part in with_sublayers(self) if isinstance(part, PhysicsModel)]
        found = {id(layer) for layer in layers if has_trainable_inputs(self, layer)}
        self.layers_with_shielded_inputs = frozenset(found).union(
            *(part.layers_with_shielded_inputs for part in nested if part is not self)
        )

    @staticmethod
    def replace_in_bases(cls: type) -> None:
        """Replaces `PhysicsModel` by its functional subclass among the bases of a user's class."""
        if not issubclass(cls, FunctionalPhysicsModel):
            for base in cls.__bases__:
                if base is not PhysicsModel and issubclass(base, PhysicsModel):
                    FunctionalPhysicsModel.replace_in_bases(base)
            cls.__bases__ = tuple(
                FunctionalPhysicsModel if base is PhysicsModel else base for base in cls.__bases__
            )


PhysicsModel.functional_class = FunctionalPhysicsModel
