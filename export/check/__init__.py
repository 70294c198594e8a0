"""Budgets: layers counted by published rules, baselines, and what `tinyscene check` prints."""
