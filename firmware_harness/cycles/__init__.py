"""Modelled cycles, time and energy: counts of a run, cost models of CPU families, boards, and measured errors."""
