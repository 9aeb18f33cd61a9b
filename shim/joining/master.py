"""How does a further master get the keys all masters share? Encrypted, by way of the API, with a key told to people.

As kubeadm's ``--upload-certs``: the CAs, their keys and the key of service accounts lie in one Secret, each encrypted
with AES-256-GCM. The key is printed once and kept nowhere. The Secret belongs to the bootstrap token that was
made with it, and goes when the token does; only tokens of the group of masters may read it. Each time it is made
anew, so that an earlier key opens nothing.
"""

from __future__ import annotations

import base64
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from shim import pki
from shim.api.meta import Object
from shim.api.status import ApiError
from shim.client import Client
from shim.client import resource as r
from shim.client.kubeconfig import Access
from shim.cluster import ClusterError
from shim.joining.discovery import discover

NAMESPACE, NAME = "kube-system", "shim-certs"
SHARED = ("ca.crt", "ca.key", "sa.key", "sa.pub", "front-proxy-ca.crt", "front-proxy-ca.key")
_NONCE = 12


def new_key() -> str:
    return secrets.token_hex(32)


def encrypted(pki_dir: Path, key: str) -> Object:
    """The Secret. Raises FileNotFoundError."""
    cipher = AESGCM(bytes.fromhex(key))
    data = {}
    for name in SHARED:
        nonce = secrets.token_bytes(_NONCE)
        sealed = nonce + cipher.encrypt(nonce, (pki_dir / name).read_bytes(), name.encode())
        data[name] = base64.b64encode(sealed).decode()
    metadata: Object = {"name": NAME, "namespace": NAMESPACE}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}


def decrypted(secret: Object, key: str) -> dict[str, bytes]:
    """Raises ValueError when this is not the key."""
    try:
        cipher = AESGCM(bytes.fromhex(key))
        found = {}
        for name in SHARED:
            sealed = base64.b64decode(secret["data"][name])
            found[name] = cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], name.encode())
    except (InvalidTag, KeyError, ValueError):
        raise ValueError("the shared certificates cannot be decrypted with this --certificate-key") from None
    return found


async def join(data_dir: Path, server: str, token: str, pin: str, key: str) -> None:
    """Fetch what masters share into ``pki``; nothing is done where it is already. Raises ClusterError."""
    directory = data_dir / "pki"
    found = await discover(server, token, pin)
    if (directory / "ca.crt").exists():
        if (directory / "ca.crt").read_bytes() != found.ca:
            raise ClusterError(f"{directory} holds the keys of another cluster than {server}")
        return
    try:
        async with Client(Access(found.server, found.ca, token=token), user_agent="shim-join") as client:
            secret = await client.get(r.SECRETS, NAME, NAMESPACE)
        shared = decrypted(secret, key)
    except ApiError as error:
        raise ClusterError(f"this token is not one for masters (see `shim token create --master`): {error}") from None
    except ValueError as error:
        raise ClusterError(str(error)) from None
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o700)
    for name in reversed(SHARED):  # the certificate last: what is there with it is whole
        pki.write_private(directory / name, shared[name])
