"""Programs that run in a process, and often a Python, of their own; only their records are imported here.

Each is run as ``python -P -m tinyscene.export.targets.workers.NAME`` (:mod:`tinyscene.export.targets.worker`).
"""
