"""How are values hidden from who holds the disk? Some resources are encrypted on their way into the store.

The configuration is upstream's (https://kubernetes.io/docs/tasks/administer-cluster/encrypt-data/), and so is what
lies in the store: ``k8s:enc:PROVIDER:v1:KEY:`` and the ciphertext. The first provider of a resource writes; all of
them read, so that keys are replaced by putting the new one in front, and writing everything once.
"""

from __future__ import annotations

import base64
import binascii
import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import nacl.exceptions
import nacl.secret
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from shim.codec.configuration import ConfigurationError, read_configuration
from shim.store.contract import StoreError

PREFIX = b"k8s:enc:"
_API_VERSIONS = ("apiserver.config.k8s.io/v1", "v1")


class Box(Protocol):
    """Seals and opens values with one key. ``open`` raises ValueError."""

    def seal(self, value: bytes, key: bytes) -> bytes: ...

    def open(self, sealed: bytes, key: bytes) -> bytes: ...


class _AesCbc:
    """Secret, but not safe from being changed: upstream keeps it for what was written by it."""

    def __init__(self, secret: bytes) -> None:
        self._algorithm = algorithms.AES(secret)

    def seal(self, value: bytes, key: bytes) -> bytes:
        start = secrets.token_bytes(16)
        padder, encryptor = padding.PKCS7(128).padder(), Cipher(self._algorithm, modes.CBC(start)).encryptor()
        return start + encryptor.update(padder.update(value) + padder.finalize()) + encryptor.finalize()

    def open(self, sealed: bytes, key: bytes) -> bytes:
        decryptor, unpadder = Cipher(self._algorithm, modes.CBC(sealed[:16])).decryptor(), padding.PKCS7(128).unpadder()
        padded = decryptor.update(sealed[16:]) + decryptor.finalize()
        return unpadder.update(padded) + unpadder.finalize()


class _AesGcm:
    """The key a value lies under is sealed with it: one cannot be passed off as another."""

    def __init__(self, secret: bytes) -> None:
        self._cipher = AESGCM(secret)

    def seal(self, value: bytes, key: bytes) -> bytes:
        nonce = secrets.token_bytes(12)
        return nonce + self._cipher.encrypt(nonce, value, key)

    def open(self, sealed: bytes, key: bytes) -> bytes:
        try:
            return self._cipher.decrypt(sealed[:12], sealed[12:], key)
        except InvalidTag:
            raise ValueError("it was changed, or is of another key") from None


class _SecretBox:
    """XSalsa20 and Poly1305, as NaCl has them."""

    def __init__(self, secret: bytes) -> None:
        self._box = nacl.secret.SecretBox(secret)

    def seal(self, value: bytes, key: bytes) -> bytes:
        return bytes(self._box.encrypt(value))

    def open(self, sealed: bytes, key: bytes) -> bytes:
        try:
            return self._box.decrypt(sealed)
        except nacl.exceptions.CryptoError as error:
            raise ValueError(str(error)) from None


_BOXES: dict[str, tuple[Callable[[bytes], Box], tuple[int, ...]]] = {
    "aescbc": (_AesCbc, (16, 24, 32)),
    "aesgcm": (_AesGcm, (16, 24, 32)),
    "secretbox": (_SecretBox, (32,)),
}
"""By provider: how to make one of a key, and how many bytes that may have."""


@dataclass(frozen=True, slots=True)
class Sealer:
    """One key of one provider; without a box, ``identity``: values as they are."""

    prefix: bytes
    box: Box | None = None


class Encryption:
    """What is encrypted, and with which keys."""

    def __init__(self, rules: Sequence[tuple[tuple[str, ...], tuple[Sealer, ...]]]) -> None:
        self._rules = rules
        self._chosen: dict[tuple[str, str], tuple[Sealer, ...]] = {}

    @classmethod
    def read(cls, text: str) -> Encryption:
        """Raises ConfigurationError."""
        config = read_configuration(text, "EncryptionConfiguration", _API_VERSIONS)
        rows = config.get("resources")
        if not rows:
            raise ConfigurationError("resources: Required value: at least one resources is required")
        return cls([_rule(row, f"resources[{index}]") for index, row in enumerate(rows)])

    def sealers(self, group: str, resource: str) -> tuple[Sealer, ...]:
        """Those of a resource, the one that writes first; () for one that is kept as it is."""
        found = self._chosen.get((group, resource))
        if found is None:
            patterns = {f"{resource}.{group}" if group else resource, f"*.{group}", "*.*"}
            fitting = (sealers for resources, sealers in self._rules if not patterns.isdisjoint(resources))
            found = self._chosen[group, resource] = next(fitting, ())
        return found


def seal(sealers: tuple[Sealer, ...], key: str, value: bytes) -> bytes:
    first = sealers[0]
    return value if first.box is None else first.prefix + first.box.seal(value, key.encode())


def unseal(sealers: tuple[Sealer, ...], key: str, stored: bytes) -> tuple[bytes, bool]:
    """The value, and whether it would be written otherwise today. Raises StoreError when no key opens it."""
    why = ""
    for number, sealer in enumerate(sealers):
        if sealer.box is None:
            if not stored.startswith(PREFIX):
                return stored, number > 0
        elif stored.startswith(sealer.prefix):
            try:
                return sealer.box.open(stored[len(sealer.prefix) :], key.encode()), number > 0
            except ValueError as error:
                why = f" ({error})"
    raise StoreError(f"{key}: no key of the encryption configuration opens it{why}")


def _rule(row: Any, at: str) -> tuple[tuple[str, ...], tuple[Sealer, ...]]:
    for name in ("resources", "providers"):
        if not row.get(name):
            raise ConfigurationError(f"{at}.{name}: Required value: at least one {at}.{name} is required")
    for resource in row["resources"]:
        if resource != resource.lower():
            raise ConfigurationError(
                f"{at}.resources: Invalid value: {json.dumps(resource)}: resource names are lower-case"
            )
        if resource == "*":
            raise ConfigurationError(f'{at}.resources: Invalid value: "*": use *.* to say that every resource is meant')
    resources = tuple(row["resources"])  # "*." is every resource of the group without a name
    sealers = [
        sealer
        for index, provider in enumerate(row["providers"])
        for sealer in _provider(provider, f"{at}.providers[{index}]")
    ]
    return resources, tuple(sealers)


def _provider(provider: Any, at: str) -> list[Sealer]:
    if not isinstance(provider, dict) or len(provider) != 1:
        raise ConfigurationError(f"{at}: Invalid value: more than one provider specified in a single element")
    ((name, settings),) = provider.items()
    if name == "identity":
        return [Sealer(b"")]
    if name == "kms":
        raise ConfigurationError(f"{at}.kms is not built in this server")
    if name not in _BOXES:
        raise ConfigurationError(f'{at}: Invalid value: unknown field "{name}"')
    keys = (settings or {}).get("keys")
    if not keys:
        raise ConfigurationError(f"{at}.{name}.keys: Required value: at least one {at}.{name}.keys is required")
    return [_sealer(name, key, f"{at}.{name}.keys[{index}]") for index, key in enumerate(keys)]


def _sealer(provider: str, key: Any, at: str) -> Sealer:
    make, sizes = _BOXES[provider]
    for field in ("name", "secret"):
        if not key.get(field):
            raise ConfigurationError(f"{at}.{field}: Required value: {field} is a mandatory field for a key")
    try:
        secret = base64.b64decode(key["secret"], validate=True)
    except binascii.Error:
        raise ConfigurationError(f'{at}.secret: Invalid value: "REDACTED": secrets must be base64 encoded') from None
    if len(secret) not in sizes:
        text = f"secret is not of the expected length, got {len(secret)}, expected one of {list(sizes)}"
        raise ConfigurationError(f'{at}.secret: Invalid value: "REDACTED": {text}')
    return Sealer(f"k8s:enc:{provider}:v1:{key['name']}:".encode(), make(secret))
