"""What is allowed in a pod but seldom meant: said in a Warning header."""

from __future__ import annotations

from collections.abc import Iterator

from shim.api.meta import Object
from shim.api.quantity import Quantity
from shim.resources.amounts import amount
from shim.resources.causes import shown
from shim.resources.pods import annotated
from shim.resources.pods.sources import GONE

_NULL_SELECTOR = "a null labelSelector results in matching no pod"
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def pod(at: str, obj: Object) -> list[str]:
    """Every warning about a pod, or a template; ``at`` is what stands before its fields: ``spec.template.``."""
    spec = obj.get("spec") or {}
    told = (obj.get("metadata") or {}).get("annotations")
    return annotated.warnings(at, told, spec) + _spec(f"{at}spec", spec)


def _spec(at: str, spec: Object) -> list[str]:
    found: list[str] = []
    for index, each in enumerate(spec.get("topologySpreadConstraints") or ()):
        if each.get("labelSelector") is None:
            found.append(f"{at}.topologySpreadConstraints[{index}].labelSelector: {_NULL_SELECTOR}")
    for index, volume in enumerate(spec.get("volumes") or ()):
        found += [f"{at}.volumes[{index}].{kind}: {GONE[kind]}" for kind in volume if kind in GONE]
    if spec.get("hostAliases"):
        found += _repeated(f"{at}.hostAliases", spec["hostAliases"], "ip")
    if spec.get("imagePullSecrets"):
        found += _repeated(f"{at}.imagePullSecrets", spec["imagePullSecrets"], "name")
        for index, secret in enumerate(spec["imagePullSecrets"]):
            if not secret.get("name"):
                found.append(f'{at}.imagePullSecrets[{index}].name: invalid empty name ""')
    for path, container in _containers(at, spec):
        if container.get("resources"):
            found += _fractions(path, container["resources"])
        if container.get("env"):
            found += _hidden(f"{path}.env", container["env"])
    found += _ports(at, spec)
    if spec.get("affinity"):
        found += _affinity(f"{at}.affinity", spec["affinity"])
    return found


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


def _fractions(at: str, resources: Object) -> list[str]:
    found: list[str] = []
    for name in ("memory", "ephemeral-storage"):
        for field in ("limits", "requests"):
            text = (resources.get(field) or {}).get(name)
            if text is None:
                continue
            value: Quantity = amount(text)
            if not value.whole:
                message = f"fractional byte value {shown(str(value))} is invalid, must be an integer"
                found.append(f"{at}.resources.{field}[{name}]: {message}")
    return found


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
