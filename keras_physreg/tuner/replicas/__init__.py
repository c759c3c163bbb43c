"""Rooms of the ReplicaTuner."""
