"""The one self-contained HTML page about a model: :mod:`tinyscene.export.report.page` renders it, the rest are its parts."""
