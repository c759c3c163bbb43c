"""Physics terms: their settings, references, losses and weights."""

from keras_physreg.terms.term import PhysicsTerm as PhysicsTerm
