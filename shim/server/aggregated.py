"""From what legacy discovery says of a group version (APIResourceList) to what aggregated discovery says."""

from __future__ import annotations

from collections.abc import Iterable

from shim.api.meta import Object


def aggregated(resources: Iterable[Object]) -> list[Object]:
    """The same resources, each subresource below what it belongs to."""
    found: dict[str, Object] = {}
    below: list[tuple[str, Object]] = []
    for raw in resources:
        name, _, subresource = raw["name"].partition("/")
        kind = {key: raw.get(key) or "" for key in ("group", "version", "kind")}
        made: Object = {"responseKind": kind, "verbs": raw.get("verbs") or []}
        if subresource:
            below.append((name, {"subresource": subresource, **made}))
            continue
        scope = "Namespaced" if raw.get("namespaced") else "Cluster"
        found[name] = {"resource": name, "scope": scope, "singularResource": raw.get("singularName") or "", **made}
        found[name] |= {key: raw[key] for key in ("shortNames", "categories") if raw.get(key)}
    for name, made in below:
        alone: Object = {"resource": name, "scope": "Namespaced", "singularResource": ""}
        found.setdefault(name, alone).setdefault("subresources", []).append(made)
    return list(found.values())
