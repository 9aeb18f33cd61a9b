"""Containers, init containers and ephemeral containers of a pod."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shim.api import names
from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources.causes import duplicate, forbidden, invalid, named, not_found, one_of, required, unsupported
from shim.resources.pods import amounts, claims, probes, restarts, security
from shim.resources.pods.references import ENV_FIELDS, field_ref, file_key_ref, file_volume, key_ref, resource_ref
from shim.resources.pods.sources import descending_path


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What of a pod the rules of its containers depend on."""

    volumes: Mapping[str, Object]
    grace: int
    host_users: bool
    restarts: str
    claims: frozenset[str]

    @classmethod
    def of(cls, spec: Object, volumes: Mapping[str, Object]) -> Surroundings:
        return cls(
            volumes,
            spec.get("terminationGracePeriodSeconds") or 0,
            spec.get("hostUsers") is not False,
            spec.get("restartPolicy") or "",
            frozenset(each.get("name") or "" for each in spec.get("resourceClaims") or ()),
        )


PROTOCOLS = ("SCTP", "TCP", "UDP")
_PULL = ("Always", "IfNotPresent", "Never")
_MESSAGE = ("File", "FallbackToLogsOnError")
_SIDECAR_ONLY = "may not be set for init containers without restartPolicy=Always"
_EPHEMERAL_FORBIDDEN = (
    "ports",
    "resizePolicy",
    "restartPolicy",
    "restartPolicyRules",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
)


def containers(at: str, found: list[Object], pod: Surroundings) -> list[FieldError]:
    """The containers proper; there must be one."""
    if not found:
        return [required(at)]
    causes: list[FieldError] = []
    seen: set[str] = set()
    host_ports: set[str] = set()
    conflicts: list[FieldError] = []
    for index, container in enumerate(found):
        here = f"{at}[{index}]"
        causes += _common(here, container, pod)
        causes += restarts.restarts(here, container)
        name = container.get("name") or ""
        if name in seen:
            causes.append(duplicate(f"{here}.name", name))
        seen.add(name)
        if container.get("lifecycle"):
            causes += probes.lifecycle(f"{here}.lifecycle", container["lifecycle"], pod.grace)
        causes += probes.probes(here, container, pod.grace)
        if container.get("ports"):
            conflicts += _host_ports(here, container, host_ports)
    return causes + conflicts


def init_containers(at: str, found: list[Object], taken: set[str], pod: Surroundings) -> list[FieldError]:
    """Init containers; those that restart always are sidecars, and may be probed."""
    causes: list[FieldError] = []
    for index, container in enumerate(found):
        here = f"{at}[{index}]"
        causes += _common(here, container, pod)
        policy = container.get("restartPolicy")
        causes += restarts.init_restarts(here, container)
        name = container.get("name") or ""
        if name in taken:
            causes.append(duplicate(f"{here}.name", name))
        taken.add(name)
        causes += _host_ports(f"{at}[0]", container, set())
        if policy == "Always":
            if container.get("lifecycle"):
                causes += probes.lifecycle(f"{here}.lifecycle", container["lifecycle"], pod.grace)
            causes += probes.probes(here, container, pod.grace)
        else:
            for field in ("lifecycle", "livenessProbe", "readinessProbe", "startupProbe"):
                if container.get(field) is not None:
                    causes.append(forbidden(f"{here}.{field}", _SIDECAR_ONLY))
    return causes


def ephemeral_containers(
    at: str, found: list[Object], taken: set[str], targets: set[str], pod: Surroundings
) -> list[FieldError]:
    """Containers added to a running pod to look into it."""
    causes: list[FieldError] = []
    for index, container in enumerate(found):
        here = f"{at}[{index}]"
        causes += _common(here, container, pod)
        name, target = container.get("name") or "", container.get("targetContainerName") or ""
        if name in taken:
            causes.append(duplicate(f"{here}.name", name))
        taken.add(name)
        if target and target not in targets:
            causes.append(not_found(f"{here}.targetContainerName", target))
        for field in _EPHEMERAL_FORBIDDEN:
            if container.get(field) is not None:
                causes.append(forbidden(f"{here}.{field}", "cannot be set for an Ephemeral Container"))
        if container.get("resources"):
            causes.append(forbidden(f"{here}.resources", "cannot be set for an Ephemeral Container"))
        for mount_index, mount in enumerate(container.get("volumeMounts") or ()):
            for field in ("subPath", "subPathExpr"):
                if mount.get(field):
                    at_mount = f"{here}.volumeMounts[{mount_index}].{field}"
                    causes.append(forbidden(at_mount, "cannot be set for an Ephemeral Container"))
    return causes


def _common(at: str, container: Object, pod: Surroundings) -> list[FieldError]:
    name = container.get("name")
    causes = named(f"{at}.name", name, names.dns1123_label) if name else [required(f"{at}.name")]
    if not container.get("image"):
        causes.append(required(f"{at}.image"))
    policy = container.get("terminationMessagePolicy")
    if policy not in _MESSAGE:
        causes.append(unsupported(f"{at}.terminationMessagePolicy", policy or "", _MESSAGE))
    if container.get("ports"):
        causes += _ports(f"{at}.ports", container["ports"])
    if container.get("env"):
        causes += _env(f"{at}.env", container["env"], pod.volumes)
    if container.get("envFrom"):
        causes += _env_from(f"{at}.envFrom", container["envFrom"])
    mounts, devices = container.get("volumeMounts") or [], container.get("volumeDevices") or []
    if mounts or devices:
        causes += _mounts(at, mounts, container, devices, pod.volumes)
        causes += _devices(f"{at}.volumeDevices", devices, mounts, pod.volumes)
    policy = container.get("imagePullPolicy")
    if policy not in _PULL:
        causes.append(unsupported(f"{at}.imagePullPolicy", policy or "", _PULL))
    if container.get("resources"):
        causes += amounts.validate(f"{at}.resources", container["resources"])
        causes += claims.of_container(f"{at}.resources.claims", container["resources"].get("claims") or [], pod.claims)
    if container.get("resizePolicy"):
        causes += restarts.resize_policies(f"{at}.resizePolicy", container["resizePolicy"], pod.restarts)
    return causes + security.container(f"{at}.securityContext", container.get("securityContext"), pod.host_users)


def _ports(at: str, ports: list[Object]) -> list[FieldError]:
    causes: list[FieldError] = []
    seen: set[str] = set()
    for index, port in enumerate(ports):
        here, name = f"{at}[{index}]", port.get("name")
        if name:
            complaints = named(f"{here}.name", name, names.port_name)
            if not complaints and name in seen:
                complaints = [duplicate(f"{here}.name", name)]
            seen.add(name)
            causes += complaints
        number = port.get("containerPort") or 0
        if not number:
            causes.append(required(f"{here}.containerPort"))
        else:
            causes += [invalid(f"{here}.containerPort", number, text) for text in names.port_number(number)]
        host = port.get("hostPort") or 0
        if host:
            causes += [invalid(f"{here}.hostPort", host, text) for text in names.port_number(host)]
        if port.get("protocol") not in PROTOCOLS:
            causes.append(unsupported(f"{here}.protocol", port.get("protocol") or "", PROTOCOLS))
    return causes


def _host_ports(at: str, container: Object, seen: set[str]) -> list[FieldError]:
    """Two containers of a pod cannot have one port of the node."""
    causes: list[FieldError] = []
    for index, port in enumerate(container.get("ports") or ()):
        if port.get("hostPort"):
            taken = f"{port.get('protocol')}/{port.get('hostIP') or ''}/{port['hostPort']}"
            if taken in seen:
                causes.append(duplicate(f"{at}.ports[{index}].hostPort", taken))
            seen.add(taken)
    return causes


def _env(at: str, variables: list[Object], volumes: Mapping[str, Object]) -> list[FieldError]:
    causes: list[FieldError] = []
    for index, variable in enumerate(variables):
        here, name = f"{at}[{index}]", variable.get("name")
        causes += named(f"{here}.name", name, names.relaxed_env_var_name) if name else [required(f"{here}.name")]
        source = variable.get("valueFrom")
        if source is None:
            continue
        here = f"{here}.valueFrom"
        found = [kind for kind, value in source.items() if value is not None]
        if source.get("fieldRef") is not None:
            causes += field_ref(f"{here}.fieldRef", source["fieldRef"], ENV_FIELDS)
        if source.get("resourceFieldRef") is not None:
            causes += resource_ref(f"{here}.resourceFieldRef", source["resourceFieldRef"], of_volume=False)
        for kind in ("configMapKeyRef", "secretKeyRef"):
            if source.get(kind) is not None:
                causes += key_ref(f"{here}.{kind}", source[kind])
        if source.get("fileKeyRef") is not None:
            causes += file_key_ref(f"{here}.fileKeyRef", source["fileKeyRef"])
        if not found:
            kinds = "`fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
            causes.append(invalid(here, "", f"must specify one of: {kinds}"))
        elif variable.get("value"):
            causes.append(invalid(here, "", "may not be specified when `value` is not empty"))
        elif len(found) > 1:
            causes.append(invalid(here, "", "may not have more than one field specified at a time"))
        if source.get("fileKeyRef") is not None:
            volume = source["fileKeyRef"].get("volumeName") or ""
            causes += file_volume(f"{here}.fileKeyRef.volumeName", volume, volumes)
    return causes


def _env_from(at: str, sources: list[Object]) -> list[FieldError]:
    causes: list[FieldError] = []
    for index, source in enumerate(sources):
        here = f"{at}[{index}]"
        if source.get("prefix"):
            causes += named(f"{here}.prefix", source["prefix"], names.relaxed_env_var_name)
        found = [kind for kind in ("configMapRef", "secretRef") if source.get(kind) is not None]
        for kind in found:
            name = source[kind].get("name") or ""
            causes += (
                named(f"{here}.{kind}.name", name, names.dns1123_subdomain)
                if name
                else [required(f"{here}.{kind}.name")]
            )
        if not found:
            causes.append(invalid(at, "", "must specify one of: `configMapRef` or `secretRef`"))
        elif len(found) > 1:
            causes.append(invalid(at, "", "may not have more than one field specified at a time"))
    return causes


def _mounts(
    at: str, mounts: list[Object], container: Object, devices: list[Object], volumes: Mapping[str, Object]
) -> list[FieldError]:
    causes: list[FieldError] = []
    points: set[str] = set()
    device_names = {device.get("name") for device in devices}
    device_paths = {device.get("devicePath") for device in devices}
    for index, mount in enumerate(mounts):
        here = f"{at}.volumeMounts[{index}]"
        name, path = mount.get("name") or "", mount.get("mountPath") or ""
        if not name:
            causes.append(required(f"{here}.name"))
        if name not in volumes:
            causes.append(not_found(f"{here}.name", name))
        if not path:
            causes.append(required(f"{here}.mountPath"))
        if path in points:
            causes.append(invalid(f"{here}.mountPath", path, "must be unique"))
        points.add(path)
        if name in device_names:
            causes.append(invalid(f"{here}.name", name, "must not already exist in volumeDevices"))
        if path in device_paths:
            causes.append(invalid(f"{here}.mountPath", path, "must not already exist as a path in volumeDevices"))
        sub, expression = mount.get("subPath"), mount.get("subPathExpr")
        if sub:
            causes += descending_path(f"{at}.volumeMounts.subPath", sub)
        if expression:
            if sub:
                text = "subPathExpr and subPath are mutually exclusive"
                causes.append(invalid(f"{here}.subPathExpr", expression, text))
            causes += descending_path(f"{at}.volumeMounts.subPathExpr", expression)
        propagation = mount.get("mountPropagation")
        if propagation is not None:
            causes += _propagation(f"{at}.volumeMounts.mountPropagation", propagation, container)
        if mount.get("recursiveReadOnly") is not None:
            causes += _recursive(f"{at}.volumeMounts.recursiveReadOnly", mount)
    return causes


def _devices(at: str, devices: list[Object], mounts: list[Object], volumes: Mapping[str, Object]) -> list[FieldError]:
    """Volumes as block devices: only claims can be that."""
    causes: list[FieldError] = []
    seen_names: set[str] = set()
    seen_paths: set[str] = set()
    mounted, points = {each.get("name") for each in mounts}, {each.get("mountPath") for each in mounts}
    for index, device in enumerate(devices):
        here, name, path = f"{at}[{index}]", device.get("name") or "", device.get("devicePath") or ""
        if not name:
            causes.append(required(f"{here}.name"))
        if name in seen_names:
            causes.append(invalid(f"{here}.name", name, "must be unique"))
        if name not in volumes:
            causes.append(not_found(f"{here}.name", name))
        elif volumes[name].get("persistentVolumeClaim") is None and volumes[name].get("ephemeral") is None:
            text = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"
            causes.append(invalid(f"{here}.name", name, text))
        if not path:
            causes.append(required(f"{here}.devicePath"))
        if path in seen_paths:
            causes.append(invalid(f"{here}.devicePath", path, "must be unique"))
        if ".." in path.split("/"):
            causes.append(invalid(f"{here}.devicePath", path, "can not contain backsteps ('..')"))
        else:
            seen_paths.add(path)
        if name in mounted:
            causes.append(invalid(f"{here}.name", name, "must not already exist in volumeMounts"))
        if path in points:
            causes.append(invalid(f"{here}.devicePath", path, "must not already exist as a path in volumeMounts"))
        if name:
            seen_names.add(name)
    return causes


def _recursive(at: str, mount: Object) -> list[FieldError]:
    value = mount["recursiveReadOnly"]
    if value not in ("Enabled", "IfPossible"):
        return one_of(at, value, ("Disabled", "Enabled", "IfPossible"))
    causes: list[FieldError] = []
    if not mount.get("readOnly"):
        causes.append(forbidden(at, "may only be specified when readOnly is true"))
    if mount.get("mountPropagation") not in (None, "None"):
        causes.append(forbidden(at, "may only be specified when mountPropagation is None or not specified"))
    return causes


def _propagation(at: str, propagation: str, container: Object) -> list[FieldError]:
    supported = ("Bidirectional", "HostToContainer", "None")
    if propagation not in supported:
        return [unsupported(at, propagation, supported)]
    privileged = (container.get("securityContext") or {}).get("privileged")
    if propagation == "Bidirectional" and not privileged:
        text = "Bidirectional mount propagation is available only to privileged containers"
        return [forbidden(at, text)]
    return []
