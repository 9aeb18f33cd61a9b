"""Which APIs are there? /api and /apis, each as one document per level (legacy) or everything at once (aggregated).

Documents are made from the table of resources, and from what extension servers say, once and kept as bytes. Groups
and their versions stand in an order. Upstream's legacy documents name what there are APIServices of, in the order that
those ask for; everything at once is ordered by what the server was built with, where it serves a group itself.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from shim.api.meta import Object
from shim.resources.bootstrap.api_services import OWN_GROUP, Place, place
from shim.resources.custom.rows import version_order
from shim.resources.strategy import Resource
from shim.resources.subresources import describe
from shim.server import health
from shim.server.aggregated import aggregated
from shim.server.aggregation import Extension
from shim.server.routes import Routes

AGGREGATED_TYPE = "application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
AGGREGATED_VERSIONS = ("v2",)
_OUTSIDE = (
    "/.well-known/openid-configuration",
    "/apis/",
    "/flagz",
    "/metrics",
    "/metrics/slis",
    "/openapi/v2",
    "/openapi/v3",
    "/openapi/v3/",
    "/openid/v1/jwks",
    "/statusz",
    "/version",
)
"""Paths that are neither of discovery nor of health."""
_STORED_IN = {
    "CustomResourceDefinition": "v1beta1",
    "MutatingAdmissionPolicy": "v1beta1",
    "MutatingAdmissionPolicyBinding": "v1beta1",
}
"""Kinds that upstream keeps in an older version than it serves, so that an older server could read them."""


Places = Mapping[tuple[str, str], Place]
"""Of groups and versions."""


@dataclass(frozen=True, slots=True)
class _Version:
    """A version of a group: of this server's own resources, or else an extension server's."""

    name: str
    place: tuple[int, int]
    rows: Mapping[str, Resource]
    extension: Extension | None = None

    def order(self) -> Any:
        return -self.place[1], version_order(self.name)

    def aggregated(self) -> Object:
        if self.extension is None:
            return {"version": self.name, "resources": aggregated(_resources(self.rows)), "freshness": "Current"}
        served = self.extension.described.resources
        if served is None:
            return {"version": self.name, "freshness": "Stale"}
        return {"version": self.name, "resources": served, "freshness": "Current"}


class Discovery:
    """The discovery documents of the served resources."""

    def __init__(
        self, routes: Routes, extensions: Callable[[], Iterable[Extension]], places: Callable[[], Places], address: str
    ) -> None:
        self._routes, self._extensions, self._places = routes, extensions, places
        self._address = address
        self._documents: dict[str, bytes] = {}
        self._listed: dict[str, bytes] = {}
        """Those of groups, as APIServices have them."""
        self._aggregated: dict[tuple[str, str], bytes] = {}
        self.built = 0
        """How often that was done."""
        self.rebuild()

    def rebuild(self) -> None:
        """Make every document anew, after the served resources have changed."""
        self.built += 1
        served = self._served()
        core, groups = served.pop("", []), served
        documents = {"/api": self._core_versions(core)}
        for group, versions in (("", core), *groups.items()):
            if group:
                documents[f"/apis/{group}"] = _group_document(group, [version.name for version in versions])
            for version in versions:
                if version.extension is None:  # which answers that itself
                    path = f"/apis/{group}/{version.name}" if group else f"/api/{version.name}"
                    documents[path] = _resource_list(version.rows)
        self._documents = {path: orjson.dumps(document) for path, document in documents.items()}
        for wire in AGGREGATED_VERSIONS:
            self._aggregated["/api", wire] = orjson.dumps(_aggregate({"": core}, wire))
            self._aggregated["/apis", wire] = orjson.dumps(_aggregate(groups, wire))
        self.regroup()

    def regroup(self) -> None:
        """Make the documents of groups anew, after APIServices have changed."""
        places = {OWN_GROUP: place(*OWN_GROUP), **self._places()}
        for row in self._routes.resources:
            if row.custom:  # its APIService comes a moment later, and comes back
                places.setdefault((row.group, row.version), place(row.group, row.version))
        groups = _ordered(places)
        listed = [_group(group, versions) for group, versions in groups.items()]
        documents = {"/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}}
        documents |= {f"/apis/{group}": _group_document(group, versions) for group, versions in groups.items()}
        self._listed = {path: orjson.dumps(document) for path, document in documents.items()}

    def _served(self) -> dict[str, list[_Version]]:
        """The versions of every group; an extension server's comes in the place of our own."""
        found = {
            (group, name): _Version(name, place(group, name), rows)
            for group in self._routes.groups()
            for name, rows in self._routes.versions(group).items()
        }
        for each in self._extensions():
            found[each.spec.group, each.spec.version] = _Version(each.spec.version, each.spec.place, {}, each)
        by_group: dict[str, list[_Version]] = {}
        for (group, _), version in found.items():
            by_group.setdefault(group, []).append(version)
        highest = {group: max(version.place[0] for version in versions) for group, versions in by_group.items()}
        ordered = sorted(by_group, key=lambda group: (-highest[group], group))
        return {group: sorted(by_group[group], key=_Version.order) for group in ordered}

    def document(self, path: str) -> bytes | None:
        """The legacy document at a path, or None."""
        path = path.rstrip("/")
        return self._listed.get(path) or self._documents.get(path)

    def routed(self, path: str) -> bool:
        """Whether this is a version of a built-in group, or the list of them at /api.

        Upstream's router answers these, and looks at Accept first.
        """
        if path.rstrip("/") == "/api":
            return True
        rows = self._routes.versions(path.split("/")[2] if path.startswith("/apis/") else "")
        version = path.rstrip("/").rpartition("/")[2]
        return version in rows and not next(iter(rows[version].values())).custom

    def paths(self) -> list[str]:
        """What ``GET /`` lists."""
        return sorted({*self._documents, *self._listed, *_OUTSIDE, *health.PATHS})

    def aggregated(self, path: str, accept: str) -> tuple[bytes, str] | None:
        """Everything below /api or /apis with its content type, when the client asks for it first."""
        if "APIGroupDiscoveryList" not in accept:
            return None
        for wanted in accept.replace(" ", "").split(","):
            parameters = dict(part.partition("=")[::2] for part in wanted.split(";")[1:])
            if parameters.get("as") != "APIGroupDiscoveryList":
                if wanted.startswith(("application/json", "*/*")):
                    return None
                continue
            version = parameters.get("v", "")
            known = wanted.startswith("application/json") and parameters.get("g") == "apidiscovery.k8s.io"
            if known and (body := self._aggregated.get((path.rstrip("/"), version))):
                return body, AGGREGATED_TYPE.format(version=version)
        return None

    def _core_versions(self, versions: Iterable[_Version]) -> Object:
        addresses = [{"clientCIDR": "0.0.0.0/0", "serverAddress": self._address}]
        names = [version.name for version in versions]
        return {"kind": "APIVersions", "versions": names, "serverAddressByClientCIDRs": addresses}


def _ordered(places: Places) -> dict[str, list[str]]:
    """The versions of each group but the core's, all in the order that their APIServices ask for."""
    services = sorted((-first, f"{version}.{group}", group) for (group, version), (first, _) in places.items() if group)
    versions: dict[str, list[str]] = {group: [] for _, _, group in services}
    for group, version in sorted(places, key=lambda each: (-places[each][1], version_order(each[1]))):
        if group:
            versions[group].append(version)
    return versions


def _group(group: str, versions: Iterable[str]) -> Object:
    shown = [{"groupVersion": f"{group}/{version}", "version": version} for version in versions]
    return {"name": group, "versions": shown, "preferredVersion": shown[0]}


def _group_document(group: str, versions: Iterable[str]) -> Object:
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(group, versions)}


def _aggregate(groups: Mapping[str, list[_Version]], wire: str) -> Object:
    items = [
        {"metadata": {"name": group} if group else {}, "versions": [version.aggregated() for version in versions]}
        for group, versions in groups.items()
    ]
    kind = {"kind": "APIGroupDiscoveryList", "apiVersion": f"apidiscovery.k8s.io/{wire}"}
    return {**kind, "metadata": {}, "items": items}


def _resource_list(rows: Mapping[str, Resource]) -> Object:
    some = next(iter(rows.values()))
    head = {"kind": "APIResourceList", "apiVersion": "v1"} if some.group else {"kind": "APIResourceList"}
    return {**head, "groupVersion": some.api_version, "resources": list(_resources(rows))}


def _resources(rows: Mapping[str, Resource]) -> Iterator[Object]:
    for row in rows.values():
        yield _resource(row)
        for name in row.subresources:
            yield _subresource(row, name)


def _resource(row: Resource) -> Object:
    resource: Object = {
        "name": row.name,
        "singularName": row.singular,
        "namespaced": row.namespaced,
        "kind": row.kind,
        "verbs": list(row.verbs),
    }
    if row.short:
        resource["shortNames"] = list(row.short)
    if row.categories:
        resource["categories"] = list(row.categories)
    if "watch" in row.verbs:  # only what is stored has a stored version
        stored = row.storage or row.gvr
        version = stored.version if row.custom else _STORED_IN.get(row.kind, stored.version)
        digest = hashlib.sha256(f"{stored.group}/{version}/{row.kind}".encode()).digest()
        resource["storageVersionHash"] = base64.b64encode(digest[:8]).decode()
    return resource


def _subresource(row: Resource, name: str) -> Object:
    subresource = describe(row, name)
    document: Object = {"name": f"{row.name}/{name}", "singularName": "", "namespaced": row.namespaced}
    if subresource.group:
        document |= {"group": subresource.group, "version": subresource.version}
    return document | {"kind": subresource.kind, "verbs": list(subresource.verbs)}
