"""How are values hidden from who holds the disk? Some resources are encrypted on their way into the store.

The configuration is upstream's (https://kubernetes.io/docs/tasks/administer-cluster/encrypt-data/), and so is what
lies in the store: ``k8s:enc:PROVIDER:v1:KEY:`` and the ciphertext. The first provider of a resource writes; all of
them read, so that keys are replaced by putting the new one in front, and writing everything once.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import nacl.exceptions
import nacl.secret
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from shim.store.contract import StoreError

PREFIX = b"k8s:enc:"


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


BOXES: dict[str, tuple[Callable[[bytes], Box], tuple[int, ...]]] = {
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
    """What is encrypted, and with which keys: those of all rules that name a resource, else all of its group."""

    def __init__(self, rules: Sequence[tuple[tuple[str, ...], tuple[Sealer, ...]]]) -> None:
        self._rules = rules
        self._chosen: dict[tuple[str, str], tuple[Sealer, ...]] = {}

    def sealers(self, group: str, resource: str) -> tuple[Sealer, ...]:
        """Those of a resource, the one that writes first; () for one that is kept as it is."""
        found = self._chosen.get((group, resource))
        if found is None:
            found = ()
            for pattern in (f"{resource}.{group}".rstrip("."), f"*.{group}", "*.*"):  # "*.": the group without a name
                if not found:
                    found = tuple(each for named, sealers in self._rules if pattern in named for each in sealers)
            self._chosen[group, resource] = found
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
