"""Known physics as named, weighted, scheduled, diagnosed and tunable loss terms of a Keras model."""
