"""An HTML page parsed into its tables, attributes and text."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"meta", "link", "br", "wbr"}


class Page(HTMLParser):
    """Checks that every tag is closed in order, and collects tables, attributes and text."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.captions: list[str] = []
        self.rows: list[list[str]] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.rows = self.tables.setdefault(dict(attrs)["class"].split()[-1], [])
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag == "caption":
            self.captions.append("")

    def handle_startendtag(self, tag, attrs):
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> without a start tag"
        assert self.open.pop() == tag, f"</{tag}> in line {self.getpos()[0]} closes another tag"

    def handle_data(self, data):
        if "style" in self.open or "title" in self.open:
            return
        self.text += data
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += data
        if "caption" in self.open:
            self.captions[-1] += data

    def row(self, table: str, head: str) -> list[str]:
        """Return the cells of the row with that head (second column in the table of layers), spaces collapsed."""
        rows = [[" ".join(cell.split()) for cell in row] for row in self.tables[table]]
        (matching,) = [row for row in rows if row[1 if table == "layers" else 0] == head]
        return matching
