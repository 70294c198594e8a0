"""One self-contained HTML page about a model: :mod:`tinyscene.export.report.page` renders it from its parts."""
