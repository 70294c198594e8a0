"""One page on this machine's own address, from which browsers give the microphone. Refuses a port that is in use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from ..errors import FirmwareError

ADDRESS = "127.0.0.1"
PATHS = ("/", "/index.html")


@contextmanager
def page_server(page: bytes, port: int) -> Iterator[ThreadingHTTPServer]:
    """A server of the page, which ``serve_forever`` starts; port 0 is any free one.

    Raises:
        FirmwareError: the port is in use, or reserved.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path not in PATHS:
                self.send_error(HTTPStatus.NOT_FOUND)
                return
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, format: str, *values: object) -> None:
            """Print nothing."""

    try:
        server = ThreadingHTTPServer((ADDRESS, port), Handler)
    except (OSError, OverflowError) as problem:
        what, step = f"cannot serve on {ADDRESS}", "give another --port, or 0 for any free one"
        raise FirmwareError(f"port {port}", what, got=str(problem), next_step=step) from None
    with server:
        yield server
