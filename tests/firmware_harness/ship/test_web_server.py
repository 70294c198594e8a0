"""The server of the page: one page, and nothing on standard error whatever a client does."""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.request

import pytest

from tinyscene.firmware_harness.build.targets import WASM
from tinyscene.firmware_harness.ship.web_server import page_server
from tinyscene.runtime.bundle import Bundle

PAGE = b"<p>" * 1_000_000  # more than the buffers of a connection
RESET = struct.pack("ii", 1, 0)  # linger for no time: closing resets the connection
REQUESTS = (
    b"GET / HTTP/1.0\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"", b"G", b"\xff\xfe\r\n\r\n",
    b"POST / HTTP/1.1\r\n\r\n", b"GET /<script> HTTP/1.0\r\n\r\n",
    b"GET " + b"/" * 70_000, b"GET / HTTP/1.0\r\nX: " + b"a" * 70_000,
)  # fmt: skip


def test_a_client_that_leaves_is_no_error(capfd: pytest.CaptureFixture[str]) -> None:
    """As a browser does whose page is loaded again: this once printed a traceback."""
    with page_server(PAGE, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        running = threading.active_count()
        for request in REQUESTS:
            with socket.create_connection(("127.0.0.1", server.server_port)) as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                client.sendall(request)
                if request.startswith(b"GET / HTTP/1"):
                    client.recv(100)  # the page has begun
        with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/", timeout=20) as response:
            assert response.read() == PAGE
        while threading.active_count() > running:
            time.sleep(0.01)
        server.shutdown()
    assert capfd.readouterr().err == ""


@pytest.mark.needs_tool(*WASM.executables)
def test_with_json_standard_output_is_one_document(scenes: Bundle) -> None:
    """The address of the server was once a line after it."""
    command = [sys.executable, "-m", "tinyscene", "page", str(scenes.path), "--serve", "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "}\n")
        record = json.loads("".join([*lines, "}"]))
        with urllib.request.urlopen(record["url"], timeout=20) as response:
            assert len(response.read()) == record["bytes"]
        process.terminate()
        assert process.communicate() == ("", "terminated\n")
