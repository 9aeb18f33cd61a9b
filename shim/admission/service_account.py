"""Every pod acts as some service account, and finds the account's token mounted where clients look for it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from typing import Any

from shim.admission.request import CREATE, MIRROR, UPDATE, Plugin, Reader, Request, refuse, unusable
from shim.api.gotext import parse_bool
from shim.api.meta import GVR, Object
from shim.api.pod_secrets import of_containers, of_pod

SERVICE_ACCOUNTS = GVR("", "v1", "serviceaccounts")
MOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
TOKEN_SECONDS = 3607  # an hour and a bit: the odd number marks tokens that pods did not ask for themselves
_VOLUME = "kube-api-access-"
_ENFORCE = "kubernetes.io/enforce-mountable-secrets"
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # no vowels, nothing that looks like something else
_ATTEMPTS, _PAUSE = 10, 0.15  # a new namespace's default account is a moment behind it


class ServiceAccount(Plugin):
    resources = (("", "pods"),)

    async def mutate(self, request: Request, reader: Reader) -> None:
        pod = request.obj
        if pod is None or not request.is_for("pods", CREATE):
            return
        spec = pod["spec"]
        if _is_mirror(pod):
            _check_mirror(request, spec)
            return
        name = spec.get("serviceAccountName") or spec.get("serviceAccount") or "default"
        spec["serviceAccountName"] = spec["serviceAccount"] = name
        account = await _find(request, reader, name)
        if _automount(spec, account):
            _mount_token(spec)
        if not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
            spec["imagePullSecrets"] = [{"name": each.get("name", "")} for each in account["imagePullSecrets"]]

    async def validate(self, request: Request, reader: Reader) -> None:
        pod = request.obj
        temporary = request.is_for("pods", UPDATE, subresource="ephemeralcontainers")
        if pod is None or not (temporary or request.is_for("pods", CREATE)):
            return
        spec = pod["spec"]
        if not temporary and _is_mirror(pod):
            _check_mirror(request, spec)
            return
        name = spec.get("serviceAccountName")
        if not name:
            where = f"{request.namespace}/{pod['metadata'].get('name') or ''}"
            raise refuse(request, f"no service account specified for pod {where}")
        account = await _find(request, reader, name)
        if not parse_bool((account["metadata"].get("annotations") or {}).get(_ENFORCE, "")):
            return
        complaint = next(_not_mountable(spec, account, temporary), None)
        if complaint:
            raise refuse(request, complaint)


def _is_mirror(pod: Object) -> bool:
    return MIRROR in (pod["metadata"].get("annotations") or ())


def _check_mirror(request: Request, spec: Object) -> None:
    """A mirror pod must not change, and gets nothing that it could not have had on the node alone."""
    if spec.get("serviceAccountName"):
        raise refuse(request, "a mirror pod may not reference service accounts")
    if any(of_pod(spec)):
        raise refuse(request, "a mirror pod may not reference secrets")
    for volume in spec.get("volumes") or ():
        for source in (volume.get("projected") or {}).get("sources") or ():
            if source.get("serviceAccountToken"):
                raise refuse(request, "a mirror pod may not use ServiceAccountToken volume projections")


def _not_mountable(spec: Object, account: Object, temporary: bool) -> Iterator[str]:
    """Secrets that an account which lists its Secrets does not list."""
    owner = account["metadata"]["name"]
    known = {each.get("name") for each in account.get("secrets") or ()}
    text = f"is not allowed because service account {owner} does not reference that secret"
    fields = [("ephemeralContainers", "ephemeral container")] if temporary else []
    if not temporary:
        for volume in spec.get("volumes") or ():
            name = (volume.get("secret") or {}).get("secretName")
            if volume.get("secret") is not None and name not in known:
                yield f'volume with secret.secretName="{name}" {text}'
        fields = [("initContainers", "init container"), ("containers", "container")]
    for field, what in fields:
        for container, variable, name in of_containers(spec, field):
            if name not in known:
                through = f"envVar {variable}" if variable else "envFrom"
                yield f'{what} {container} with {through} referencing secret.secretName="{name}" {text}'
    if not temporary:
        pulling = {each.get("name") for each in account.get("imagePullSecrets") or ()}
        for index, each in enumerate(spec.get("imagePullSecrets") or ()):
            if each.get("name") not in pulling:
                shown = f'imagePullSecrets[{index}].name="{each.get("name", "")}"'
                why = f"is not allowed because service account {owner} does not reference that imagePullSecret"
                yield f"{shown} {why}"


async def _find(request: Request, reader: Reader, name: str) -> Object:
    for attempt in range(_ATTEMPTS if name == "default" else 1):
        if attempt:
            await asyncio.sleep(_PAUSE)
        account = reader.get(SERVICE_ACCOUNTS, request.namespace, name)
        if account is not None:
            return account
    where = f"{request.namespace}/{name}"
    if why := unusable(name):
        raise refuse(request, f"error looking up service account {where}: {why}")
    raise refuse(request, f'error looking up service account {where}: serviceaccount "{name}" not found')


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
