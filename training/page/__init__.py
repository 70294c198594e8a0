"""Self-contained HTML pages: the shared style, layout and macros, and the page of an evaluation."""
