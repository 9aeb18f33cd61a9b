"""What must hold of a pod, and of a pod template: the order of the checks is the order of the complaints."""

from __future__ import annotations

from shim.api import names
from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources.addresses import ip_address
from shim.resources.causes import duplicate, forbidden, invalid, labels, named, one_of, required, too_long, unsupported
from shim.resources.pods import amounts, annotated, claims, scheduling, security, systems, volumes
from shim.resources.pods import containers as groups

RESTART_POLICIES = ("Always", "OnFailure", "Never")
_DNS_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
_MAX_INT32 = 2**31 - 1
_HOSTNAME_MAX = 64


def pod(obj: Object) -> list[FieldError]:
    """A new pod, but for its metadata."""
    spec, told = obj["spec"], obj["metadata"].get("annotations")
    causes = running_pod(obj)
    if spec.get("ephemeralContainers"):
        causes.append(forbidden("spec.ephemeralContainers", "cannot be set on create"))
    if spec.get("nodeName") and spec.get("schedulingGates"):
        causes.append(forbidden("spec.nodeName", "cannot be set until all schedulingGates have been cleared"))
    return causes + annotated.agreement("spec", told, spec)


def running_pod(obj: Object) -> list[FieldError]:
    """A pod that may have been given ephemeral containers and a node since it was made, but for its metadata."""
    spec, metadata = obj["spec"], obj["metadata"]
    causes = annotated.rules("metadata.annotations", metadata.get("annotations"), spec)
    causes += pod_spec("spec", spec, metadata.get("name") or "")
    if not spec.get("serviceAccountName"):
        causes += _tokens_of_nobody(spec)
    for field in ("containers", "initContainers"):
        for index, container in enumerate(spec.get(field) or ()):
            image = container.get("image") or ""
            if image != image.strip():
                text = "must not have leading or trailing whitespace"
                causes.append(invalid(f"spec.{field}[{index}].image", image, text))
    return causes


def _tokens_of_nobody(spec: Object) -> list[FieldError]:
    return [
        forbidden(
            f"spec.volumes[{index}].projected.sources[{place}].serviceAccountToken",
            "must not be specified when serviceAccountName is not set",
        )
        for index, volume in enumerate(spec.get("volumes") or ())
        for place, source in enumerate((volume.get("projected") or {}).get("sources") or ())
        if source.get("serviceAccountToken") is not None
    ]


def template(at: str, obj: Object) -> list[FieldError]:
    """A pod template, metadata included."""
    spec, told = obj.get("spec") or {}, (obj.get("metadata") or {}).get("annotations")
    causes = template_metadata(at, obj)
    causes += annotated.rules(f"{at}.annotations", told, spec)
    causes += pod_spec(f"{at}.spec", spec)
    causes += annotated.agreement(f"{at}.spec", told, spec)
    if spec.get("ephemeralContainers"):
        text = "ephemeral containers not allowed in pod template"
        causes.append(forbidden(f"{at}.spec.ephemeralContainers", text))
    return causes


def template_metadata(at: str, obj: Object) -> list[FieldError]:
    metadata = obj.get("metadata") or {}
    causes = labels(f"{at}.labels", metadata.get("labels"))
    for key in metadata.get("annotations") or ():
        causes += [invalid(f"{at}.annotations", key, text) for text in names.label_key(key.lower())]
    return causes


def pod_spec(at: str, spec: Object, name: str = "") -> list[FieldError]:
    """Everything a pod and a template have in common; a pod has a name."""
    grace = spec.get("terminationGracePeriodSeconds")
    causes = [required(f"{at}.terminationGracePeriodSeconds")] if grace is None else []
    known, found = volumes.validate(f"{at}.volumes", spec.get("volumes") or [], name)
    causes += found
    if spec.get("resourceClaims"):
        causes += claims.of_pod(f"{at}.resourceClaims", spec["resourceClaims"])
    around = groups.Surroundings.of(spec, known)
    main = spec.get("containers") or []
    taken = {container.get("name") or "" for container in main}
    causes += groups.containers(f"{at}.containers", main, around)
    if spec.get("initContainers"):
        causes += groups.init_containers(f"{at}.initContainers", spec["initContainers"], taken, around)
    if spec.get("ephemeralContainers"):
        extra, targets = spec["ephemeralContainers"], set(taken)
        causes += groups.ephemeral_containers(f"{at}.ephemeralContainers", extra, taken, targets, around)
    if spec.get("resources") is not None:
        causes += amounts.of_pod(f"{at}.resources", spec, around.claims)
    if spec.get("hostNetwork"):
        causes += _host_network(at, spec)
    causes += one_of(f"{at}.restartPolicy", spec.get("restartPolicy"), RESTART_POLICIES)
    causes += one_of(f"{at}.dnsPolicy", spec.get("dnsPolicy"), _DNS_POLICIES)
    causes += labels(f"{at}.nodeSelector", spec.get("nodeSelector"))
    causes += security.pod(f"{at}.securityContext", spec)
    if spec.get("affinity"):
        causes += scheduling.affinity(f"{at}.affinity", spec["affinity"])
    if spec.get("dnsConfig") or spec.get("dnsPolicy") == "None":
        causes += _dns_config(f"{at}.dnsConfig", spec.get("dnsConfig"), spec.get("dnsPolicy"))
    for index, gate in enumerate(spec.get("readinessGates") or ()):
        kind = gate.get("conditionType") or ""
        causes += named(f"{at}.readinessGates[{index}].conditionType", kind, names.qualified_name)
    if spec.get("schedulingGates"):
        causes += _scheduling_gates(f"{at}.schedulingGates", spec["schedulingGates"])
    if spec.get("topologySpreadConstraints"):
        causes += scheduling.topology(f"{at}.topologySpreadConstraints", spec["topologySpreadConstraints"])
    causes += systems.host_processes(at, spec)
    causes += security.host_users(at, spec)
    return causes + _names_and_numbers(at, spec) + systems.system(at, spec)


def _names_and_numbers(at: str, spec: Object) -> list[FieldError]:
    causes: list[FieldError] = []
    for field in ("serviceAccountName", "nodeName"):
        if spec.get(field):
            causes += named(f"{at}.{field}", spec[field], names.dns1123_subdomain)
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None:
        complaints = names.in_range(deadline, 1, _MAX_INT32)
        causes += [invalid(f"{at}.activeDeadlineSeconds", deadline, text) for text in complaints]
    for field in ("hostname", "subdomain"):
        if spec.get(field):
            causes += named(f"{at}.{field}", spec[field], names.dns1123_label)
    if spec.get("hostnameOverride") is not None:
        causes += _hostname(f"{at}.hostnameOverride", spec)
    if spec.get("tolerations"):
        causes += scheduling.tolerations(f"{at}.tolerations", spec["tolerations"])
    for index, alias in enumerate(spec.get("hostAliases") or ()):
        here = f"{at}.hostAliases[{index}]"
        causes += ip_address(f"{here}.ip", alias.get("ip") or "")
        for host_index, host in enumerate(alias.get("hostnames") or ()):
            causes += named(f"{here}.hostnames[{host_index}]", host, names.dns1123_subdomain)
    if spec.get("priorityClassName"):
        causes += named(f"{at}.priorityClassName", spec["priorityClassName"], names.dns1123_subdomain)
    if spec.get("runtimeClassName") is not None:
        causes += named(f"{at}.runtimeClassName", spec["runtimeClassName"], names.dns1123_subdomain)
    policy = spec.get("preemptionPolicy")
    if policy == "":
        causes.append(required(f"{at}.preemptionPolicy"))
    elif policy is not None:
        causes += one_of(f"{at}.preemptionPolicy", policy, ("PreemptLowerPriority", "Never"))
    if spec.get("overhead"):
        causes += amounts.validate(f"{at}.overhead", {"limits": spec["overhead"]})
    return causes


def _hostname(at: str, spec: Object) -> list[FieldError]:
    """``hostnameOverride``: a name as Linux takes it, at most 64 bytes long (KEP-4762)."""
    causes = [
        forbidden(at, f"may not be specified when {field} is true")
        for field in ("setHostnameAsFQDN", "hostNetwork")
        if spec.get(field)
    ]
    name = spec["hostnameOverride"]
    causes += [too_long(at, _HOSTNAME_MAX)] if len(name.encode()) > _HOSTNAME_MAX else []
    return causes + named(at, name, names.dns1123_subdomain)


def _host_network(at: str, spec: Object) -> list[FieldError]:
    """With the node's network, a container port is a port of the node."""
    causes: list[FieldError] = []
    for index, container in enumerate(spec.get("containers") or ()):
        for port_index, port in enumerate(container.get("ports") or ()):
            if (port.get("hostPort") or 0) not in (0, port.get("containerPort")):
                here = f"{at}.containers[{index}].ports[{port_index}].hostPort"
                causes.append(invalid(here, port["hostPort"], "must match `containerPort` when `hostNetwork` is true"))
    return causes


def _dns_config(at: str, config: Object | None, policy: str | None) -> list[FieldError]:
    if policy == "None":
        if not config:
            return [required(at, "must provide `dnsConfig` when `dnsPolicy` is None")]
        if not config.get("nameservers"):
            text = "must provide at least one DNS nameserver when `dnsPolicy` is None"
            return [required(f"{at}.nameservers", text)]
    causes: list[FieldError] = []
    servers, searches = (config or {}).get("nameservers") or [], (config or {}).get("searches") or []
    if len(servers) > 3:
        causes.append(invalid(f"{at}.nameservers", servers, "must not have more than 3 nameservers"))
    for index, server in enumerate(servers):
        causes += ip_address(f"{at}.nameservers[{index}]", server)
    if len(searches) > 32:
        causes.append(invalid(f"{at}.searches", searches, "must not have more than 32 search paths"))
    if len(" ".join(searches)) > 2048:
        text = "must not have more than 2048 characters (including spaces) in the search list"
        causes.append(invalid(f"{at}.searches", searches, text))
    for index, search in enumerate(searches):
        if search != ".":
            causes += named(f"{at}.searches[{index}]", search.removesuffix("."), names.subdomain_with_underscores)
    for index, option in enumerate((config or {}).get("options") or ()):
        if not option.get("name"):
            causes.append(required(f"{at}.options[{index}]", "must not be empty"))
    return causes


def _scheduling_gates(at: str, gates: list[Object]) -> list[FieldError]:
    causes: list[FieldError] = []
    seen: set[str] = set()
    for index, gate in enumerate(gates):
        name = gate.get("name") or ""
        causes += named(f"{at}[{index}]", name, names.qualified_name)
        if name in seen:
            causes.append(duplicate(f"{at}[{index}]", name))
        seen.add(name)
    return causes


def restart_policy(at: str, policy: str, supported: tuple[str, ...]) -> list[FieldError]:
    """Workloads allow fewer restart policies than pods."""
    return [] if policy in supported else [unsupported(at, policy, supported)]
