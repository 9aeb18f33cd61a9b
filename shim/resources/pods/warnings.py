"""What is allowed in a pod but seldom meant: said in a Warning header."""

from __future__ import annotations

from collections.abc import Iterator

from shim.api.meta import Object
from shim.resources.addresses import ip_warnings
from shim.resources.amounts import amount
from shim.resources.causes import shown
from shim.resources.claim_rules import warnings as claim_warnings
from shim.resources.node_labels import DEPRECATED, term_warnings
from shim.resources.pods import annotated, overlaps
from shim.resources.pods.sources import GONE

_IN_BYTES = ("memory", "ephemeral-storage")
_TOLD = {"storageos": "storageOS"}
_NULL_SELECTOR = "a null labelSelector results in matching no pod"
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def pod(at: str, obj: Object) -> list[str]:
    """Every warning about a pod, or a template; ``at`` is what stands before its fields: ``spec.template.``."""
    spec = obj.get("spec") or {}
    told = (obj.get("metadata") or {}).get("annotations")
    return annotated.warnings(at, told, spec) + _spec(f"{at}spec", spec)


def _spec(at: str, spec: Object) -> list[str]:
    found = _nodes(at, spec)
    if spec.get("volumes"):
        found += _volumes(f"{at}.volumes", spec["volumes"])
    if spec.get("hostAliases"):
        found += _repeated(f"{at}.hostAliases", spec["hostAliases"], "ip")
    if spec.get("imagePullSecrets"):
        found += _repeated(f"{at}.imagePullSecrets", spec["imagePullSecrets"], "name")
        for index, secret in enumerate(spec["imagePullSecrets"]):
            if not secret.get("name"):
                found.append(f'{at}.imagePullSecrets[{index}].name: invalid empty name ""')
    if spec.get("overhead"):
        found += [text for name in _IN_BYTES for text in _fraction(f"{at}.overhead", spec["overhead"], name)]
    for path, container in _containers(at, spec):
        if container.get("resources"):
            for name in _IN_BYTES:
                for field in ("limits", "requests"):
                    found += _fraction(f"{path}.resources.{field}", container["resources"].get(field) or {}, name)
        if container.get("env"):
            found += _hidden(f"{path}.env", container["env"])
    found += _ports(at, spec)
    if (spec.get("terminationGracePeriodSeconds") or 0) < 0:
        text = "must be >= 0; negative values are invalid and will be treated as 1"
        found.append(f"{at}.terminationGracePeriodSeconds: {text}")
    if spec.get("affinity"):
        found += _affinity(f"{at}.affinity", spec["affinity"])
    for index, server in enumerate((spec.get("dnsConfig") or {}).get("nameservers") or ()):
        found += ip_warnings(f"{at}.dnsConfig.nameservers[{index}]", server)
    for index, alias in enumerate(spec.get("hostAliases") or ()):
        found += ip_warnings(f"{at}.hostAliases[{index}].ip", alias.get("ip") or "")
    return found


def _nodes(at: str, spec: Object) -> list[str]:
    """Old labels of nodes, and constraints that fit no pod."""
    selected = [label for label in spec.get("nodeSelector") or () if label in DEPRECATED]
    found = [f"{at}.nodeSelector[{label}]: {DEPRECATED[label]}" for label in selected]
    affinity, at_affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}, f"{at}.affinity.nodeAffinity"
    for index, term in enumerate((affinity.get(_REQUIRED) or {}).get("nodeSelectorTerms") or ()):
        found += term_warnings(f"{at_affinity}.{_REQUIRED}.nodeSelectorTerms[{index}]", term)
    for index, weighted in enumerate(affinity.get(_PREFERRED) or ()):
        here = f"{at_affinity}.{_PREFERRED}[{index}].preference"
        found += term_warnings(here, weighted.get("preference") or {}, check_values=True)
    for index, each in enumerate(spec.get("topologySpreadConstraints") or ()):
        here, key = f"{at}.topologySpreadConstraints[{index}]", each.get("topologyKey") or ""
        if key in DEPRECATED:
            found.append(f"{here}.topologyKey: {key} is {DEPRECATED[key]}")
        if each.get("labelSelector") is None:
            found.append(f"{here}.labelSelector: {_NULL_SELECTOR}")
    return found


def _volumes(at: str, volumes: list[Object]) -> list[str]:
    found: list[str] = []
    for index, volume in enumerate(volumes):
        found += [f"{at}[{index}].{_TOLD.get(kind, kind)}: {GONE[kind]}" for kind in volume if kind in GONE]
        claim = (volume.get("ephemeral") or {}).get("volumeClaimTemplate")
        if claim:
            found += claim_warnings(f"{at}[{index}].ephemeral.volumeClaimTemplate.spec", claim.get("spec") or {})
    return found + overlaps.warnings(volumes)


def _containers(at: str, spec: Object) -> Iterator[tuple[str, Object]]:
    for field in ("initContainers", "containers", "ephemeralContainers"):
        for index, container in enumerate(spec.get(field) or ()):
            yield f"{at}.{field}[{index}]", container


def _repeated(at: str, items: list[Object], field: str) -> list[str]:
    seen: set[str] = set()
    found: list[str] = []
    for index, item in enumerate(items):
        value = item.get(field) or ""
        if value in seen:
            found.append(f"{at}[{index}].{field}: duplicate {field} {shown(value)}")
        seen.add(value)
    return found


def _fraction(at: str, amounts: Object, name: str) -> list[str]:
    if name not in amounts or amount(amounts[name]).whole:
        return []
    text = shown(str(amount(amounts[name])))
    return [f"{at}[{name}]: fractional byte value {text} is invalid, must be an integer"]


def _hidden(at: str, variables: list[Object]) -> list[str]:
    """A variable set twice, unless the second builds on the first."""
    seen: set[str] = set()
    found: list[str] = []
    for index, variable in enumerate(variables):
        name, value = variable.get("name") or "", variable.get("value") or ""
        reference = f"$({name})"
        if name in seen and (variable.get("valueFrom") is not None or value == reference or reference not in value):
            text = f"hides previous definition of {shown(name)}, which may be dropped when using apply"
            found.append(f"{at}[{index}]: {text}")
        seen.add(name)
    return found


def _ports(at: str, spec: Object) -> list[str]:
    numbers: dict[tuple[int, str], list[tuple[str, str, int]]] = {}
    by_name: dict[str, str] = {}
    clashes: list[str] = []
    repeated: list[str] = []
    for path, container in _containers(at, spec):
        for index, port in enumerate(container.get("ports") or ()):
            here = f"{path}.ports[{index}]"
            address, host = port.get("hostIP") or "", port.get("hostPort") or 0
            if address and not host:
                clashes.append(f"{here}: hostIP set without hostPort: {_printed(port)}")
            others = numbers.setdefault((port.get("containerPort") or 0, port.get("protocol") or ""), [])
            for other, other_address, other_host in others:
                if (address, host) == (other_address, other_host):
                    clashes.append(f"{here}: duplicate port definition with {other}")
                elif not host or not other_host:
                    clashes.append(f"{here}: overlapping port definition with {other}")
                elif host == other_host and bool(address) != bool(other_address):
                    clashes.append(f"{here}: dangerously ambiguous port definition with {other}")
            others.append((here, address, host))
            name = port.get("name")
            if name and name in by_name:
                other = by_name[name]
                text = f"services and probes that select ports by name will use {other}"
                repeated.append(f"{here}: duplicate port name {shown(name)} with {other}, {text}")
            elif name:
                by_name[name] = here
    return clashes + repeated


def _printed(port: Object) -> str:
    """A port as Go prints a struct in words."""
    text = {field: port.get(field) or "" for field in ("name", "protocol", "hostIP")}
    numbers = f"HostPort:{port.get('hostPort') or 0} ContainerPort:{port.get('containerPort') or 0}"
    return f"{{Name:{text['name']} {numbers} Protocol:{text['protocol']} HostIP:{text['hostIP']}}}"


def _affinity(at: str, affinity: Object) -> list[str]:
    found: list[str] = []
    for kind in ("podAffinity", "podAntiAffinity"):
        terms = affinity.get(kind) or {}
        for index, term in enumerate(terms.get(_REQUIRED) or ()):
            if term.get("labelSelector") is None:
                found.append(f"{at}.{kind}.{_REQUIRED}[{index}].labelSelector: {_NULL_SELECTOR}")
        for index, weighted in enumerate(terms.get(_PREFERRED) or ()):
            if (weighted.get("podAffinityTerm") or {}).get("labelSelector") is None:
                found.append(f"{at}.{kind}.{_PREFERRED}[{index}].podAffinityTerm.labelSelector: {_NULL_SELECTOR}")
    return found
