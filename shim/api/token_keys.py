"""The keys that service accounts' tokens are signed and checked with: RSA or elliptic curves, read from PEM."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from shim.api.certificates import pem_blocks

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
_CURVES = {256: "ES256", 384: "ES384", 521: "ES512"}
ALGORITHMS = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512")


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A public key, and the name tokens know it by."""

    public: PublicKey
    id: str
    algorithm: str

    @classmethod
    def of(cls, public: PublicKey) -> VerificationKey:
        encoding, form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        name = _base64url(hashlib.sha256(public.public_bytes(encoding, form)).digest())
        return cls(public, name, "RS256" if isinstance(public, rsa.RSAPublicKey) else _CURVES[public.key_size])

    def may_be_of(self, algorithm: str) -> bool:
        """Whether a token that says this algorithm could be signed with this key."""
        if isinstance(self.public, rsa.RSAPublicKey):
            return algorithm.startswith("RS")
        return algorithm == self.algorithm

    def jwk(self) -> dict[str, str]:
        """As RFC 7517 has it."""
        shown = {"use": "sig", "kty": "", "kid": self.id}
        if isinstance(self.public, rsa.RSAPublicKey):
            numbers = self.public.public_numbers()
            return shown | {"kty": "RSA", "alg": self.algorithm, "n": _number(numbers.n), "e": _number(numbers.e)}
        point = self.public.public_numbers()
        size = (self.public.key_size + 7) // 8
        curve = {"kty": "EC", "crv": f"P-{self.public.key_size}", "alg": self.algorithm}
        return shown | curve | {"x": _number(point.x, size), "y": _number(point.y, size)}


class SigningKey:
    """A private key that signs tokens."""

    def __init__(self, pem: bytes) -> None:
        """Raises ValueError."""
        key = serialization.load_pem_private_key(pem, None)
        if not isinstance(key, PrivateKey):
            raise ValueError("a key for tokens must be an RSA or an EC key")
        self._private = key
        self.verification = VerificationKey.of(key.public_key())

    def sign(self, claims: dict[str, Any]) -> str:
        return jwt.encode(claims, self._private, self.verification.algorithm, headers={"kid": self.verification.id})


def verification_keys(pem: bytes) -> list[VerificationKey]:
    """Every key of a file: public ones, those of certificates' kind left out, and the public half of private ones.

    Raises ValueError when there is none.
    """
    found = []
    for label, block in pem_blocks(pem):
        if label.endswith("PRIVATE KEY"):
            found.append(SigningKey(block).verification)
        elif label.endswith("PUBLIC KEY"):
            public = serialization.load_pem_public_key(block)
            if isinstance(public, PublicKey):
                found.append(VerificationKey.of(public))
    if not found:
        raise ValueError("data does not contain any valid RSA or ECDSA public keys")
    return found


def _number(value: int, size: int = 0) -> str:
    return _base64url(value.to_bytes(size or (value.bit_length() + 7) // 8, "big"))


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
