"""Where is the API server, and who are we to it? Reads the current context of a kubeconfig file."""

from __future__ import annotations

import base64
import os
import ssl
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


class KubeconfigError(ValueError):
    """The file is not a kubeconfig this client can use; the text says what is wrong with which entry."""


MASTERS = "kubeshim-masters"


@dataclass(frozen=True, slots=True)
class Access:
    """All a client needs to know of a cluster and of its user. PEM texts, not paths."""

    server: str
    ca: bytes | None = None
    certificate: bytes | None = None
    key: bytes | None = None
    token: str = ""
    namespace: str = "default"
    insecure: bool = False
    tls_server_name: str = ""
    masters: tuple[str, ...] = ()
    """Addresses of all API servers of the cluster, any of which will do; none: ``server`` alone."""

    def ssl_context(self) -> ssl.SSLContext | None:
        """The TLS settings for ``server``, None when it is plain HTTP."""
        if not self.server.startswith("https:"):
            return None
        context = ssl.create_default_context(cadata=self.ca.decode() if self.ca else None)
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.certificate and self.key:
            _load_pair(context, self.certificate, self.key)
        return context


def load(path: str | Path) -> Access:
    """The current context of the file at ``path``; certificates inline or as files, relative to it."""
    path = Path(path)
    config = yaml.safe_load(path.read_text())
    if not isinstance(config, dict):
        raise KubeconfigError(f"{path}: not a kubeconfig")
    context = _named(path, config, "contexts", "context", config.get("current-context") or "")
    cluster = _named(path, config, "clusters", "cluster", context.get("cluster") or "")
    user = _named(path, config, "users", "user", context["user"]) if context.get("user") else {}
    for unsupported in ("exec", "auth-provider", "username", "as"):
        if user.get(unsupported):
            raise KubeconfigError(f"{path}: user {context['user']!r}: {unsupported!r} is not supported")
    if not cluster.get("server"):
        raise KubeconfigError(f"{path}: cluster {context['cluster']!r} has no server")
    token = user.get("token") or ""
    if not token and user.get("tokenFile"):
        token = (path.parent / user["tokenFile"]).read_text().strip()
    return Access(
        server=str(cluster["server"]).rstrip("/"),
        ca=_pem(path, cluster, "certificate-authority"),
        certificate=_pem(path, user, "client-certificate"),
        key=_pem(path, user, "client-key"),
        token=token,
        namespace=context.get("namespace") or "default",
        insecure=bool(cluster.get("insecure-skip-tls-verify")),
        tls_server_name=cluster.get("tls-server-name") or "",
        masters=_masters(cluster),
    )


def masters_extension(addresses: Sequence[str]) -> dict[str, Any]:
    """How the addresses of all API servers stand in a kubeconfig's cluster; other clients pass over it."""
    return {"name": MASTERS, "extension": {"addresses": list(addresses)}}


def _masters(cluster: dict[str, Any]) -> tuple[str, ...]:
    extensions = {each.get("name"): each.get("extension") or {} for each in cluster.get("extensions") or ()}
    return tuple(extensions.get(MASTERS, {}).get("addresses") or ())


def _named(path: Path, config: dict[str, Any], section: str, field: str, name: str) -> dict[str, Any]:
    for entry in config.get(section) or ():
        if entry.get("name") == name:
            return dict(entry.get(field) or {})
    raise KubeconfigError(f"{path}: {section} has no {name!r}")


def _pem(path: Path, entry: dict[str, Any], field: str) -> bytes | None:
    if entry.get(f"{field}-data"):
        return base64.b64decode(entry[f"{field}-data"])
    if entry.get(field):
        return Path(path.parent, entry[field]).read_bytes()
    return None


def _load_pair(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """OpenSSL reads pairs from a file only: one that nobody else may read, and gone at once."""
    descriptor, name = tempfile.mkstemp(prefix="kubeshim-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(certificate.rstrip() + b"\n" + key)
        context.load_cert_chain(name)
    finally:
        os.unlink(name)
