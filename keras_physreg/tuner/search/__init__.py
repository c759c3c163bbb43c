"""The search of `ReplicaTuner`: it asks for trials, trains them, reports them and keeps its state."""
