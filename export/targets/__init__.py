"""Targets that `verify` compares with the integer graph, and converters of other makers."""
