"""Every pod acts as some service account, and finds the account's token mounted where clients look for it."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from shim.admission.request import CREATE, Plugin, Reader, Request, refuse
from shim.api.meta import GVR, Object

SERVICE_ACCOUNTS = GVR("", "v1", "serviceaccounts")
MOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
TOKEN_SECONDS = 3607  # an hour and a bit: the odd number marks tokens that pods did not ask for themselves
_VOLUME = "kube-api-access-"
_MIRROR = "kubernetes.io/config.mirror"
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # no vowels, nothing that looks like something else
_ATTEMPTS, _PAUSE = 10, 0.15  # a new namespace's default account is a moment behind it


class ServiceAccount(Plugin):
    resources = (("", "pods"),)

    async def mutate(self, request: Request, reader: Reader) -> None:
        pod = request.obj
        if pod is None or not request.is_for("pods", CREATE):
            return
        spec, metadata = pod["spec"], pod["metadata"]
        if _MIRROR in (metadata.get("annotations") or ()):
            if spec.get("serviceAccountName"):
                raise refuse(request, "a mirror pod may not reference service accounts")
            return
        name = spec.get("serviceAccountName") or spec.get("serviceAccount") or "default"
        spec["serviceAccountName"] = spec["serviceAccount"] = name
        account = await _find(reader, request.namespace, name)
        if account is None:
            where = f"{request.namespace}/{name}"
            raise refuse(request, f'error looking up service account {where}: serviceaccount "{name}" not found')
        if _automount(spec, account):
            _mount_token(spec)
        if not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
            spec["imagePullSecrets"] = [{"name": each.get("name", "")} for each in account["imagePullSecrets"]]


async def _find(reader: Reader, namespace: str | None, name: str) -> Object | None:
    for attempt in range(_ATTEMPTS if name == "default" else 1):
        if attempt:
            await asyncio.sleep(_PAUSE)
        account = reader.get(SERVICE_ACCOUNTS, namespace, name)
        if account is not None:
            return account
    return None


def _automount(spec: Object, account: Object) -> bool:
    for holder in (spec, account):
        if holder.get("automountServiceAccountToken") is not None:
            return bool(holder["automountServiceAccountToken"])
    return True


def _mount_token(spec: Object) -> None:
    volumes: list[Any] = spec.get("volumes") or []
    existing = next((each["name"] for each in volumes if each.get("name", "").startswith(_VOLUME)), None)
    name = existing or _VOLUME + "".join(random.choices(_ALPHABET, k=5))
    mounted = False
    for field in ("initContainers", "containers"):
        for container in spec.get(field) or ():
            mounts = container.get("volumeMounts") or []
            if any(mount.get("mountPath") == MOUNT_PATH for mount in mounts):
                continue
            container["volumeMounts"] = [*mounts, {"name": name, "readOnly": True, "mountPath": MOUNT_PATH}]
            mounted = True
    if mounted and not existing:
        spec["volumes"] = [*volumes, {"name": name, "projected": _token_volume()}]


def _token_volume() -> Object:
    namespace = {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
    return {
        "sources": [
            {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [namespace]}},
        ],
        "defaultMode": 0o644,
    }
