"""How is an HTTPS server that a Service or a URL names reached, and whose certificate is believed?

Webhooks and extension servers are. What goes wrong is told in the words of Go's HTTP client, which people search for.
"""

from __future__ import annotations

import base64
import binascii
import os
import ssl
from collections.abc import Mapping
from typing import Any

import aiohttp

_CERTIFICATE = {
    10: "certificate has expired or is not yet valid",
    18: "certificate signed by unknown authority",
    19: "certificate signed by unknown authority",
    20: "certificate signed by unknown authority",
    21: "certificate signed by unknown authority",
}
"""OpenSSL's codes of why a certificate is not believed."""
_OF_ANOTHER = 62


class NowhereToGo(Exception):
    """What names the server names nothing that could be reached."""


def name_of(namespace: str, service: str) -> str:
    """Whose certificate a server behind a Service must have."""
    return f"{service}.{namespace}.svc"


def authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def address_of(service: Mapping[str, Any], port: int) -> str:
    """The host that leads to a Service: its own address, which whoever runs the API server has a route to.

    Raises NowhereToGo.
    """
    spec = service["spec"]
    if spec.get("type") == "ExternalName":
        return str(spec.get("externalName"))
    address = spec.get("clusterIP")
    if address in (None, "", "None"):
        raise NowhereToGo('cannot route to service with ClusterIP "None"')
    if not any(each.get("port") == port for each in spec.get("ports") or ()):
        raise NowhereToGo(f'no service port {port} found for service "{service["metadata"]["name"]}"')
    return str(address)


def believing(bundle: str) -> ssl.SSLContext:
    """TLS that trusts a CA bundle (PEM in base64), or what the machine trusts where there is none.

    Raises NowhereToGo.
    """
    if not bundle:
        return ssl.create_default_context()
    try:
        return ssl.create_default_context(cadata=base64.b64decode(bundle).decode())
    except (binascii.Error, ValueError, ssl.SSLError):
        raise NowhereToGo("unable to load root certificates: unable to parse bytes as PEM block") from None


def why(error: BaseException, connected: str, name: str) -> str:
    """Why a request failed that went to ``connected`` (host and port), whose certificate had to be ``name``'s."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return mistrust(error.certificate_error, name)
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        return f"tls: {error.os_error.strerror or error}"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"dial tcp: lookup {connected.rpartition(':')[0]}: no such host"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"dial tcp {connected}: connect: {os.strerror(error.os_error.errno or 0).lower()}"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "EOF"
    return str(error) or type(error).__name__


def mistrust(error: Exception, name: str) -> str:
    """Why a certificate is not believed that had to be ``name``'s."""
    code = getattr(error, "verify_code", 0)
    if code == _OF_ANOTHER:
        return f"tls: failed to verify certificate: x509: certificate is not valid for {name}"
    text = _CERTIFICATE.get(code) or getattr(error, "verify_message", "") or str(error)
    return f"tls: failed to verify certificate: x509: {text}"
