"""`tinyscene page`: a classifier of audio as one web page, written to a file or served on this machine.

Refuses a model without a front end, and where the compiler of WebAssembly is missing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tinyscene import __version__
from tinyscene.runtime.option_groups import grouped
from tinyscene.runtime.options import AsJson, Description, ModelOpener, ModelPath, Quiet, file_to_write
from tinyscene.runtime.terminal import echo, echo_document, waiting

from ..errors import FirmwareError
from .options import Hop, RoundingRule

if TYPE_CHECKING:
    from ..ship.product import Product

DEFAULT_PORT, LAST_PORT = 8000, 65_535


@dataclass(frozen=True, kw_only=True)
class PageOptions:
    """Where the page goes, and what it computes."""

    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.html", help="File to write; MODEL-demo.html by default.", callback=file_to_write("<")
        ),
    ] = None
    serve: Annotated[
        bool, typer.Option("--serve", help="Serve the page on this machine until interrupted, for the microphone.")
    ] = False
    port: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, max=LAST_PORT, help="Port of --serve, 8000 by default; 0 is any free one."),
    ] = None
    rounding: RoundingRule = "double"
    hop_s: Hop = None


@grouped
def page(
    model: ModelPath,
    options: PageOptions,
    description: Description,
    open_model: ModelOpener,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Write one web page that runs a model on a WAV file or the microphone."""
    from tinyscene.runtime.files import write_file

    from ..firmware_folder import folder_beside
    from ..ship.product import Options, Product
    from ..ship.web_page import page as page_of
    from ..ship.web_server import page_server

    if options.port is not None and not options.serve:
        raise FirmwareError("--port", "belongs to --serve", next_step="add --serve")
    product_options = Options(rounding=options.rounding, hop_s=options.hop_s)
    product = Product(description.of(open_model(model)), product_options, f"tinyscene {__version__}")
    with waiting("compiling WebAssembly"):
        content = page_of(product).encode()
    out = options.out
    if out is None and not options.serve:
        out = Path(f"{folder_beside(model, 'demo')}.html")
    if out is not None:
        write_file(out, content)
    if not options.serve:
        _print(out, content, product, None, as_json)
        return
    with page_server(content, DEFAULT_PORT if options.port is None else options.port) as server:
        _print(out, content, product, f"http://{server.server_address[0]!s}:{server.server_port}/", as_json)
        server.serve_forever()


def _print(out: Path | None, content: bytes, product: Product, url: str | None, as_json: bool) -> None:
    if as_json:
        record = {
            "page": None if out is None else str(out),
            "url": url,
            "bytes": len(content),
            "digest": product.emitted.digest,
        }
        echo_document(json.dumps(record, indent=1))
        return
    if out is not None:
        echo(f"{out}: one page, {len(content):,} B, nothing else is loaded; next: open it in a browser")
    if url is not None:
        echo(f"{url}: serving the page until interrupted")
