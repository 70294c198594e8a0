"""Emission: the integer graph and the front end as C data and calls."""
