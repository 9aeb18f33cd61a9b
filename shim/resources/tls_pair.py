"""Do a certificate and a private key belong together? What TLS secrets are warned of, in the words of Go's library."""

from __future__ import annotations

import base64

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes

from shim.api.certificates import pem_blocks


def pair_complaint(encoded_certificate: str, encoded_key: str) -> str:
    """What is wrong with a pair, both as base64 of PEM; empty when nothing is."""
    blocks = _blocks(encoded_certificate)
    found = [block for kind, block in blocks if kind == "CERTIFICATE"]
    if not found:
        return _missing("certificate", [kind for kind, _ in blocks])
    keys = _blocks(encoded_key)
    private = [block for kind, block in keys if kind == "PRIVATE KEY" or kind.endswith(" PRIVATE KEY")]
    if not private:
        return _missing("key", [kind for kind, _ in keys])
    try:
        public = x509.load_pem_x509_certificate(found[0]).public_key()
    except ValueError:
        return "x509: malformed certificate"
    try:
        key = serialization.load_pem_private_key(private[0], None)
    except (ValueError, TypeError):
        return "tls: failed to parse private key"
    return _mismatch(public, key)


def _blocks(encoded: str) -> list[tuple[str, bytes]]:
    return pem_blocks(base64.b64decode(encoded))


def _missing(what: str, kinds: list[str]) -> str:
    if not kinds:
        return f"tls: failed to find any PEM data in {what} input"
    if what == "certificate":
        if len(kinds) == 1 and kinds[0].endswith("PRIVATE KEY"):
            text = "tls: failed to find certificate PEM data in certificate input, but did find a private key"
            return f"{text}; PEM inputs may have been switched"
        block = '"CERTIFICATE" PEM block in certificate input'
    else:
        if len(kinds) == 1 and kinds[0] == "CERTIFICATE":
            return "tls: found a certificate rather than a key in the PEM for the private key"
        block = 'PEM block with type ending in "PRIVATE KEY" in key input'
    return f"tls: failed to find {block} after skipping PEM blocks of the following types: [{' '.join(kinds)}]"


def _mismatch(public: PublicKeyTypes, key: PrivateKeyTypes) -> str:
    if type(public) is not type(key.public_key()):
        return "tls: private key type does not match public key type"
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if public.public_bytes(*form) != key.public_key().public_bytes(*form):
        return "tls: private key does not match public key"
    return ""
