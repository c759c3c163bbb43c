"""Physics terms: what an output is compared with, and by which loss."""

from keras_physreg.terms.term import PhysicsTerm as PhysicsTerm
