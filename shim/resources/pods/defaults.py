"""What a pod's author may leave out, and what it then is: pods themselves, and the templates of workloads.

Only zero values count as left out: an explicit null is one, as in Go.
"""

from __future__ import annotations

import re
from typing import Any

from shim.api.meta import Object
from shim.resources import amounts

GRACE_PERIOD = 30
_COMPONENT = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_HOST = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_REFERENCE = re.compile(
    rf"(?:{_HOST}(?:\.{_HOST})*(?::[0-9]+)?/)?{_COMPONENT}(?:/{_COMPONENT})*(?::[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}})?"
)
"""A reference to an image without a digest; of what is none, nothing is known of its tag."""
_LONGEST_PATH, _SURELY_SHORT = 255, 240
_FILE_MODE = 0o644


def pull_policy(image: str) -> str:
    """``Always`` for a moving tag (``latest``, or none at all), else ``IfNotPresent``."""
    if "@" in image or not _REFERENCE.fullmatch(image) or (len(image) > _SURELY_SHORT and _is_too_long(image)):
        return "IfNotPresent"
    tag = image.rpartition("/")[2].partition(":")[2]  # a colon before the last slash belongs to the registry's port
    return "Always" if tag in ("", "latest") else "IfNotPresent"


def _is_too_long(image: str) -> bool:
    """Whether the repository's path, which has no registry and no tag, is longer than one may be."""
    first, slash, rest = image.partition("/")
    has_registry = slash and (first == "localhost" or first != first.lower() or not {".", ":"}.isdisjoint(first))
    path = (rest if has_registry else image).partition(":")[0]
    return len(path if slash else f"library/{path}") > _LONGEST_PATH


def pod(obj: Object) -> None:
    """A pod's own defaults, beyond those it shares with templates."""
    spec = obj.setdefault("spec", {})
    pod_spec(spec)
    if spec["terminationGracePeriodSeconds"] < 0:
        spec["terminationGracePeriodSeconds"] = 1  # upstream's conversion does the same, silently
    host_network = spec.get("hostNetwork")
    for field in ("containers", "initContainers"):
        for container in spec.get(field) or ():
            resources = container["resources"]
            limits = resources.get("limits")
            if limits:
                requests = resources.get("requests") or {}
                resources["requests"] = {**limits, **requests}
            if host_network:
                for port in container.get("ports") or ():
                    if not port.get("hostPort"):
                        port["hostPort"] = port.get("containerPort", 0)
    if spec.get("resources"):
        _pod_requests(spec)
    if spec.get("enableServiceLinks") is None:
        spec["enableServiceLinks"] = True
    if obj.get("status"):
        _addresses(obj["status"])


def _addresses(status: Object) -> None:
    """One address under two names: the older one is believed where both differ, as old kubelets write that alone."""
    one, several = status.get("podIP"), status.get("podIPs")
    if one and (not several or several[0].get("ip") != one):
        status["podIPs"] = [{"ip": one}]
    elif several and not one:
        status["podIP"] = several[0].get("ip") or ""


def template(obj: Object) -> None:
    """A pod template: ``spec.template`` of every workload, and ``template`` of a PodTemplate."""
    if not obj.get("metadata"):
        obj["metadata"] = {}
    pod_spec(obj.setdefault("spec", {}))


def pod_spec(spec: Object) -> None:
    """What pods and templates share."""
    if not spec.get("dnsPolicy"):
        spec["dnsPolicy"] = "ClusterFirst"
    if not spec.get("restartPolicy"):
        spec["restartPolicy"] = "Always"
    if spec.get("securityContext") is None:
        spec["securityContext"] = {}
    if spec.get("terminationGracePeriodSeconds") is None:
        spec["terminationGracePeriodSeconds"] = GRACE_PERIOD
    if not spec.get("schedulerName"):
        spec["schedulerName"] = "default-scheduler"
    # one field under two names: what was written under either is kept, the new name wins
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    for field in ("containers", "initContainers", "ephemeralContainers"):
        for each in spec.get(field) or ():
            container(each)
    for each in spec.get("volumes") or ():
        volume(each)
    if spec.get("overhead"):
        amounts.canonical(spec["overhead"])


def container(obj: Object) -> None:
    """One container, init container or ephemeral container."""
    if not obj.get("imagePullPolicy"):
        obj["imagePullPolicy"] = pull_policy(obj.get("image") or "")
    if not obj.get("terminationMessagePath"):
        obj["terminationMessagePath"] = "/dev/termination-log"
    if not obj.get("terminationMessagePolicy"):
        obj["terminationMessagePolicy"] = "File"
    resources = obj.get("resources")
    if not resources:
        obj["resources"] = {}
    else:
        amounts.canonical(resources.get("limits"))
        amounts.canonical(resources.get("requests"))
    for port in obj.get("ports") or ():
        if not port.get("protocol"):
            port["protocol"] = "TCP"
    for variable in obj.get("env") or ():
        source = variable.get("valueFrom")
        if source and source.get("fieldRef"):
            _field_ref(source["fieldRef"])
    for field in ("livenessProbe", "readinessProbe", "startupProbe"):
        if obj.get(field) is not None:
            _probe(obj[field])
    lifecycle = obj.get("lifecycle")
    if lifecycle:
        for field in ("postStart", "preStop"):
            handler = lifecycle.get(field)
            if handler and handler.get("httpGet") is not None:
                _http_get(handler["httpGet"])


def volume(obj: Object) -> None:
    """One volume; one without a source is an emptyDir."""
    if all(value is None for field, value in obj.items() if field != "name"):
        obj["emptyDir"] = {}
    else:
        volume_source(obj)


def volume_source(obj: Object) -> None:
    """What a volume is made of, in a pod or in a PersistentVolume."""
    for field in obj.keys() & _VOLUME_DEFAULTS.keys():
        if obj[field] is not None:
            _VOLUME_DEFAULTS[field](obj[field])


def _field_ref(reference: Object) -> None:
    if not reference.get("apiVersion"):
        reference["apiVersion"] = "v1"


def _http_get(action: Object) -> None:
    if not action.get("path"):
        action["path"] = "/"
    if not action.get("scheme"):
        action["scheme"] = "HTTP"


def _probe(probe: Object) -> None:
    if not probe.get("timeoutSeconds"):
        probe["timeoutSeconds"] = 1
    if not probe.get("periodSeconds"):
        probe["periodSeconds"] = 10
    if not probe.get("successThreshold"):
        probe["successThreshold"] = 1
    if not probe.get("failureThreshold"):
        probe["failureThreshold"] = 3
    if probe.get("httpGet") is not None:
        _http_get(probe["httpGet"])
    if probe.get("grpc") is not None and probe["grpc"].get("service") is None:
        probe["grpc"]["service"] = ""


def _file_mode(source: Object) -> None:
    if source.get("defaultMode") is None:
        source["defaultMode"] = _FILE_MODE


def _downward_items(source: Object) -> None:
    for item in source.get("items") or ():
        if item.get("fieldRef"):
            _field_ref(item["fieldRef"])


def _downward_api(source: Object) -> None:
    _file_mode(source)
    _downward_items(source)


def _projected(source: Object) -> None:
    _file_mode(source)
    for projection in source.get("sources") or ():
        for field in _OFF:
            projection.pop(field, None)
        token = projection.get("serviceAccountToken")
        if token is not None and token.get("expirationSeconds") is None:
            token["expirationSeconds"] = 3600
        if projection.get("downwardAPI"):
            _downward_items(projection["downwardAPI"])


def _empty_dir(source: Object) -> None:
    if source.get("sizeLimit") is not None:
        limit = {"sizeLimit": source["sizeLimit"]}
        amounts.canonical(limit)
        source.update(limit)


def _host_path(source: Object) -> None:
    if source.get("type") is None:
        source["type"] = ""


def _iscsi(source: Object) -> None:
    if not source.get("iscsiInterface"):
        source["iscsiInterface"] = "default"


def _rbd(source: Object) -> None:
    for field, value in (("pool", "rbd"), ("user", "admin"), ("keyring", "/etc/ceph/keyring")):
        if not source.get(field):
            source[field] = value


def _scale_io(source: Object) -> None:
    for field, value in (("storageMode", "ThinProvisioned"), ("fsType", "xfs")):
        if not source.get(field):
            source[field] = value


def _azure_disk(source: Object) -> None:
    for field, value in (("cachingMode", "ReadWrite"), ("kind", "Shared"), ("fsType", "ext4"), ("readOnly", False)):
        if source.get(field) is None:
            source[field] = value


def _ephemeral(source: Object) -> None:
    spec = (source.get("volumeClaimTemplate") or {}).get("spec")
    if spec is not None:
        claim_spec(spec)


def _image(source: Object) -> None:
    if not source.get("pullPolicy"):
        source["pullPolicy"] = pull_policy(source.get("reference") or "")


_OFF = ("clusterTrustBundle", "podCertificate")
"""What upstream drops of projected volumes, unless features are turned on that are off at first."""
_VOLUME_DEFAULTS: dict[str, Any] = {
    "configMap": _file_mode,
    "secret": _file_mode,
    "downwardAPI": _downward_api,
    "projected": _projected,
    "emptyDir": _empty_dir,
    "hostPath": _host_path,
    "iscsi": _iscsi,
    "rbd": _rbd,
    "scaleIO": _scale_io,
    "azureDisk": _azure_disk,
    "ephemeral": _ephemeral,
    "image": _image,
}


def claim_spec(spec: Object) -> None:
    """The spec of a PersistentVolumeClaim, wherever one is written."""
    if spec.get("volumeMode") is None:
        spec["volumeMode"] = "Filesystem"
    resources = spec.get("resources")
    if not resources:
        spec["resources"] = {}
    else:
        amounts.canonical(resources.get("limits"))
        amounts.canonical(resources.get("requests"))


def _pod_requests(spec: Object) -> None:
    """Pod-level requests that are not set: the containers' sum, else the pod's limit."""
    resources = spec["resources"]
    for field in ("limits", "requests"):
        amounts.canonical(resources.get(field))
    limits = resources.get("limits")
    if not limits:
        return
    requests = dict(resources.get("requests") or {})
    for name in ("cpu", "memory"):
        if name in requests:
            continue
        asked = [each["resources"].get("requests", {}).get(name) for each in spec.get("containers") or ()]
        found = [amounts.amount(text) for text in asked if text is not None]
        if found:
            total = found[0]
            for more in found[1:]:
                total = total + more
            requests[name] = str(total)
        elif name in limits:
            requests[name] = limits[name]
    if requests:
        resources["requests"] = requests
