"""Sub-commands that make, run and ship firmware."""
