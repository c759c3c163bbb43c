"""Training of replicas by the workers of an executor: a Dask client, or `concurrent.futures`."""
