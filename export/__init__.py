"""Quantisation, file formats, budgets, verification and reports."""

if __name__ != "tinyscene.export":
    raise ImportError("export is imported as tinyscene.export", name=__name__)
