"""Helpers that several rooms share: error messages, names, variables, serialization, text."""
