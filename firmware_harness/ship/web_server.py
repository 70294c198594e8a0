"""One page on this machine's own address, from which browsers give the microphone. Refuses a port that is in use.

A client that leaves, or sends nothing for ``SILENT_S``, is no error: browsers do when a page is loaded again.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from ..errors import FirmwareError

ADDRESS = "127.0.0.1"
PATHS = ("/", "/index.html")
SILENT_S = 10.0


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print the traceback of what is not the client's."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


@contextmanager
def page_server(page: bytes, port: int) -> Iterator[ThreadingHTTPServer]:
    """A server of the page, which ``serve_forever`` starts; port 0 is any free one.

    Raises:
        FirmwareError: the port is in use, or reserved.
    """

    class Handler(BaseHTTPRequestHandler):
        timeout = SILENT_S

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
        server = _Server((ADDRESS, port), Handler)
    except (OSError, OverflowError) as problem:
        what, step = f"cannot serve on {ADDRESS}", "give another --port, or 0 for any free one"
        raise FirmwareError(f"port {port}", what, got=str(problem), next_step=step) from None
    with server:
        yield server
