"""An extension API server of the standard library alone: one resource, read only, and what it is told of who asks."""

from __future__ import annotations

import json
import ssl
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

GROUP_VERSION = "e2e.example.com/v1"
RESOURCE = {
    "name": "callers",
    "singularName": "caller",
    "namespaced": False,
    "kind": "Caller",
    "verbs": ["get", "list"],
}


def answer(path: str, user: str) -> dict[str, Any] | None:
    """What is at a path; the only caller there is is whoever asks."""
    head = {"apiVersion": GROUP_VERSION}
    caller = {**head, "kind": "Caller", "metadata": {"name": user}}
    known = {
        f"/apis/{GROUP_VERSION}": {"kind": "APIResourceList", "groupVersion": GROUP_VERSION, "resources": [RESOURCE]},
        f"/apis/{GROUP_VERSION}/callers": {**head, "kind": "CallerList", "metadata": {}, "items": [caller]},
    }
    return known.get(path)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        found = answer(self.path.partition("?")[0], self.headers.get("X-Remote-User", ""))
        body = json.dumps(found or {}).encode()
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    here = Path(__file__).parent
    server = ThreadingHTTPServer(("", 8443), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(here / "tls.crt", here / "tls.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()
