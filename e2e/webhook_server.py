"""A webhook server of the standard library alone: it runs in a pod, beside its certificate."""

from __future__ import annotations

import base64
import json
import ssl
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


def label(asked: dict[str, Any]) -> dict[str, Any]:
    """Label an object, and say in the label whether it is to be kept."""
    labels = {"op": "add", "path": "/metadata/labels", "value": {"seen": "dry" if asked["dryRun"] else "yes"}}
    patch = base64.b64encode(json.dumps([labels]).encode()).decode()
    return {"allowed": True, "patch": patch, "patchType": "JSONPatch"}


def judge(asked: dict[str, Any]) -> dict[str, Any]:
    """Let nobody in, and nothing of a bad name."""
    if asked["operation"] == "CONNECT":
        return {"allowed": False, "status": {"message": "no visitors"}}
    if asked["name"] == "bad":
        return {"allowed": False, "status": {"message": "bad name"}}
    return {"allowed": True, "warnings": [f"looked at {asked['name']}"]}


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answer = (label if self.path.startswith("/label") else judge)(review["request"])
        answer["uid"] = review["request"]["uid"]
        body = json.dumps({"apiVersion": review["apiVersion"], "kind": "AdmissionReview", "response": answer}).encode()
        self.send_response(200)
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
