"""Kernel sets: for each kind of CPU, the hand-written kernels it has beside the portable ones."""
