"""The search of `ReplicaTuner`: it asks for trials, trains them, and saves its state."""
