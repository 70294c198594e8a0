"""Comparison of every target with the integer graph, op by op."""
