"""From a manifest, in the node's folder or on its page, to a static pod: named after the node, identified by its
content. Pure.

No API server has looked at it, so the kubelet fills in defaults and checks it by the same rules. What it may not do is
name objects of the API: it has to run without one. See
https://kubernetes.io/docs/tasks/configure-pod-container/static-pod/.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sized
from typing import Any

import orjson

from nodeagent.kubelet import names
from shim.api import api_references, decoding
from shim.api.meta import Object, now
from shim.codec import definitions, yamltext
from shim.resources.pods.strategy import PodStrategy

LARGEST = 10 << 20
_STRATEGY = PodStrategy()
_PRIORITIES = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}
"""Of the classes that every cluster has; there is nobody to ask for others."""
_STAYS: Object = {"operator": "Exists", "effect": "NoExecute"}  # whatever happens to the node


class InvalidManifest(ValueError):
    """It asks for no pod; the text says why."""


def check_size(data: Sized) -> None:
    """Raises InvalidManifest."""
    if len(data) > LARGEST:
        raise InvalidManifest(f"it is larger than {LARGEST >> 20} MiB")


def static_pod(data: bytes, file: str, node: str) -> Object:
    """The pod that ``file`` asks ``node`` for, in JSON or YAML. Raises InvalidManifest."""
    return _static(_parsed(data), file, node, "file")


def static_pods(data: bytes, url: str, node: str) -> list[Object]:
    """The pods that a page asks for, which may be a list of them. Raises InvalidManifest."""
    given = _parsed(data)
    listed = isinstance(given, dict) and (given.get("apiVersion"), given.get("kind")) == ("v1", "PodList")
    items = [{"apiVersion": "v1", "kind": "Pod", **each} for each in given.get("items") or ()] if listed else [given]
    return [_static(each, url, node, "http") for each in items]


def _static(given: Any, place: str, node: str, source: str) -> Object:
    pod = _decoded(given)
    metadata = pod.setdefault("metadata", {})
    if not metadata.get("name"):
        raise InvalidManifest("invalid pod: name is needed for the pod")
    metadata["uid"] = metadata.get("uid") or _identity(pod, place, node)
    metadata["name"] = f"{metadata['name']}-{node.lower()}"
    metadata.setdefault("namespace", "default")
    told = {names.CONFIG_SOURCE: source, names.CONFIG_HASH: metadata["uid"], names.CONFIG_SEEN: now()}
    metadata["annotations"] = {**(metadata.get("annotations") or {}), **told}
    spec = pod.setdefault("spec", {})
    spec["nodeName"] = node
    if _STAYS not in (tolerations := spec.setdefault("tolerations", [])):
        tolerations.append(dict(_STAYS))
    if (priority := _PRIORITIES.get(spec.get("priorityClassName", ""))) is not None:
        spec.setdefault("priority", priority)
    _STRATEGY.default(pod)
    _STRATEGY.prepare_for_create(pod)
    if causes := _STRATEGY.validate(pod):
        texts = [f"{cause.field}: {cause.message}" for cause in causes]
        raise InvalidManifest(f"invalid pod: {texts[0] if len(texts) == 1 else '[' + ', '.join(texts) + ']'}")
    if named := next(api_references.named_by(spec), None):
        raise InvalidManifest(f"static pods may not reference {named}")
    return pod


def _parsed(data: bytes) -> Any:
    try:
        return yamltext.loads(data)  # which JSON is, too
    except yamltext.YAMLError as error:
        raise InvalidManifest(str(error)) from None


def _decoded(given: Any) -> Object:
    if not isinstance(given, dict) or (given.get("apiVersion"), given.get("kind")) != ("v1", "Pod"):
        raise InvalidManifest("it is not a Pod of v1")
    definition = definitions.load_schema().for_kind("", "v1", "Pod")
    assert definition is not None
    pod, _, problem = decoding.decode(definition, given)
    if problem:
        raise InvalidManifest(f'Pod in version "v1" cannot be handled as a Pod: {problem}')
    return {**pod, "apiVersion": "v1", "kind": "Pod"}


def _identity(pod: Object, place: str, node: str) -> str:
    """The same for the same content in the same place, so that a restarted agent finds its pod; else another."""
    text = orjson.dumps([pod, node, place], option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(text, digest_size=16).hexdigest()


def mirror_of(pod: Object, node: Mapping[str, Any]) -> Object:
    """What the API is shown of a static pod: owned by the Node, with which it goes (KEP-1314)."""
    metadata = {key: value for key, value in pod["metadata"].items() if key != "uid"}
    owner = {"apiVersion": "v1", "kind": "Node", "name": node["metadata"]["name"], "uid": node["metadata"]["uid"]}
    metadata["annotations"] = {**metadata["annotations"], names.CONFIG_MIRROR: names.annotation(pod, names.CONFIG_HASH)}
    metadata["ownerReferences"] = [{**owner, "controller": True}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod["spec"]}
