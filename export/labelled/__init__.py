"""Labelled clips as inputs for the targets that are compared."""
