"""``--encryption-provider-config``: what is encrypted in the store, and by which keys. Pure.

Upstream's EncryptionConfiguration (https://kubernetes.io/docs/reference/config-api/apiserver-config.v1/), refused in
upstream's words.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Sequence
from itertools import combinations

from shim.api.meta import Object
from shim.api.status import FieldError
from shim.codec.configuration import (
    INT,
    STRING,
    STRINGS,
    ConfigurationError,
    ListOf,
    Shape,
    Struct,
    read_configuration,
    refuse,
)
from shim.resources.causes import invalid, invalid_without_value, required
from shim.store.encryption import BOXES, Encryption, Sealer

_KEYS: dict[str, Shape] = {"keys": ListOf(Struct("v1.Key", {"name": STRING, "secret": STRING}))}
_KMS = Struct(
    "v1.KMSConfiguration",
    {"apiVersion": STRING, "name": STRING, "cachesize": INT, "endpoint": STRING, "timeout": STRING},
)
_PROVIDER = Struct(
    "v1.ProviderConfiguration",
    {
        "aesgcm": Struct("v1.AESConfiguration", _KEYS),
        "aescbc": Struct("v1.AESConfiguration", _KEYS),
        "secretbox": Struct("v1.SecretboxConfiguration", _KEYS),
        "identity": Struct("v1.IdentityConfiguration", {}),
        "kms": _KMS,
    },
)
_ROW = Struct("v1.ResourceConfiguration", {"resources": STRINGS, "providers": ListOf(_PROVIDER)})
_CONFIGURATION = Struct(
    "v1.EncryptionConfiguration", {"apiVersion": STRING, "kind": STRING, "metadata": None, "resources": ListOf(_ROW)}
)
_INTERNAL = ("apiserveripinfo", "serviceipallocations", "servicenodeportallocations")  # what upstream keeps beside
_REFUSED_GROUPS = {
    "events.k8s.io": "'*.events.k8s.io' objects are stored using the 'events' API group in etcd. Use 'events' instead "
    "in the config file",
    "extensions": "'extensions' group has been removed and cannot be used for encryption",
}


def read(text: str) -> Encryption:
    """Raises ConfigurationError; each line of its text is one thing that is wrong."""
    versions = ("apiserver.config.k8s.io/v1", "v1")
    rows = read_configuration(text, "EncryptionConfiguration", versions, _CONFIGURATION).get("resources") or []
    refuse(_mistakes(rows))
    _check_masks(rows)
    return Encryption([(tuple(row["resources"]), tuple(_sealers(row))) for row in rows])


def _mistakes(rows: Sequence[Object]) -> Iterator[FieldError]:
    if not rows:
        yield required("resources", "at least one resources is required")
    for index, row in enumerate(rows):
        at = f"resources[{index}]"
        for name in ("resources", "providers"):
            if not row.get(name):
                yield required(f"{at}.{name}", f"at least one {at}.{name} is required")
            elif name == "resources":
                yield from _names(row["resources"], f"{at}.resources")
        for number, provider in enumerate(row.get("providers") or ()):
            yield from _provider(provider, f"{at}.providers[{number}]")


def _names(names: Sequence[str], at: str) -> Iterator[FieldError]:
    pairs = [(_parted(one), _parted(other)) for one, other in combinations(names, 2)]
    if any(one == other for one, other in pairs):
        yield invalid(at, names, "the same resource cannot be specified multiple times")
    if any(one != other and _overlap(one, other) for one, other in pairs):
        text = (
            "using overlapping resources such as 'secrets' and '*.' in the same resource list is not allowed as they "
            "will be masked"
        )
        yield invalid(at, names, text)
    for index, name in enumerate(names):
        resource, group = _parted(name)
        why = ""
        if name != name.lower():
            why = "resource name should not contain capital letters"
        elif name == "*":
            why = "use '*.' to encrypt all the resources from core API group or *.* to encrypt all resources"
        elif name in _INTERNAL:
            why = "resources which do not have REST API/s cannot be encrypted"
        elif group in _REFUSED_GROUPS:
            why = _REFUSED_GROUPS[group]
        elif group == "*" and resource != "*":
            why = "encrypting the same resource across groups is not supported"
        if why:
            yield invalid(f"{at}[{index}]", name, why)


def _parted(name: str) -> tuple[str, str]:
    """Resource and group."""
    resource, _, group = name.partition(".")
    return resource, group


def _overlap(one: tuple[str, str], other: tuple[str, str]) -> bool:
    everything = ("*", "*")
    return everything in (one, other) or (one[1] == other[1] and "*" in (one[0], other[0]))


def _provider(provider: Object, at: str) -> Iterator[FieldError]:
    if not provider:
        text = "provider does not contain any of the expected providers: KMS, AESGCM, AESCBC, Secretbox, Identity"
        yield invalid_without_value(at, text)
    elif len(provider) > 1:  # upstream shows the value, and so the keys
        text = "more than one provider specified in a single element, should split into different list elements"
        yield invalid_without_value(at, text)
    for name, (_, sizes) in BOXES.items():
        if name in provider:
            yield from _keys(provider[name].get("keys"), f"{at}.{name}.keys", sizes)
    if "kms" in provider:
        yield FieldError("FieldValueForbidden", f"{at}.kms", "Forbidden: KMS is not built in this server")


def _keys(keys: Sequence[Object] | None, at: str, sizes: Sequence[int]) -> Iterator[FieldError]:
    if not keys:
        yield required(at, "at least one keys is required")
    for index, key in enumerate(keys or ()):
        for name in ("name", "secret"):
            if not key.get(name):
                yield required(f"{at}[{index}].{name}", f"{name} is a mandatory field for a key")
        if not key.get("secret"):
            continue
        try:
            size = len(base64.b64decode(key["secret"], validate=True))
        except (binascii.Error, ValueError):
            yield invalid(f"{at}[{index}].secret", "REDACTED", "secrets must be base64 encoded")
            continue
        if size not in sizes:
            wanted = " ".join(map(str, sizes))
            text = f"secret is not of the expected length, got {size}, expected one of [{wanted}]"
            yield invalid(f"{at}[{index}].secret", "REDACTED", text)


def _check_masks(rows: Sequence[Object]) -> None:
    """Refuse rows that would never be asked. Raises ConfigurationError."""
    seen: set[str] = set()
    for row in rows:
        for name in row["resources"]:
            for wide in (f"*.{_parted(name)[1]}", "*.*"):
                if wide in seen:
                    raise ConfigurationError(f'resource "{name}" is masked by earlier rule "{wide}"')
            seen.add(name)


def _sealers(row: Object) -> Iterator[Sealer]:
    for provider in row["providers"]:
        ((name, settings),) = provider.items()
        if name == "identity":
            yield Sealer(b"")
            continue
        make, _ = BOXES[name]
        for key in settings["keys"]:
            yield Sealer(f"k8s:enc:{name}:v1:{key['name']}:".encode(), make(base64.b64decode(key["secret"])))
