"""Which APIs are there? /api and /apis, each as one document per level (legacy) or everything at once (aggregated).

Documents are made from the table of resources once and kept as bytes.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping

import orjson

from shim.api.meta import Object
from shim.resources.strategy import Resource
from shim.resources.subresources import describe
from shim.server.routes import Routes

AGGREGATED_TYPE = "application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
AGGREGATED_VERSIONS = ("v2", "v2beta1")


class Discovery:
    """The discovery documents of the served resources."""

    def __init__(self, routes: Routes, address: str) -> None:
        self._routes = routes
        self._address = address
        self._documents: dict[str, bytes] = {}
        self._aggregated: dict[tuple[str, str], bytes] = {}
        self.rebuild()

    def rebuild(self) -> None:
        """Make every document anew, after the served resources have changed."""
        documents = {"/api": self._core_versions(), "/apis": self._group_list()}
        for group in self._routes.groups():
            if group:
                documents[f"/apis/{group}"] = {"kind": "APIGroup", "apiVersion": "v1", **self._group(group)}
            for version, rows in self._routes.versions(group).items():
                path = f"/apis/{group}/{version}" if group else f"/api/{version}"
                documents[path] = _resource_list(rows)
        self._documents = {path: orjson.dumps(document) for path, document in documents.items()}
        for version in AGGREGATED_VERSIONS:
            groups = [group for group in self._routes.groups() if group]
            self._aggregated["/api", version] = orjson.dumps(self._aggregate([""], version))
            self._aggregated["/apis", version] = orjson.dumps(self._aggregate(groups, version))

    def document(self, path: str) -> bytes | None:
        """The legacy document at a path, or None."""
        return self._documents.get(path.rstrip("/"))

    def paths(self) -> list[str]:
        """What ``GET /`` lists."""
        outside = (
            "/healthz",
            "/livez",
            "/metrics",
            "/openapi/v2",
            "/openapi/v3",
            "/openid/v1/jwks",
            "/readyz",
            "/version",
        )
        return sorted((*self._documents, "/.well-known/openid-configuration", *outside))

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

    def _core_versions(self) -> Object:
        addresses = [{"clientCIDR": "0.0.0.0/0", "serverAddress": self._address}]
        versions = list(self._routes.versions(""))
        return {"kind": "APIVersions", "versions": versions, "serverAddressByClientCIDRs": addresses}

    def _group_list(self) -> Object:
        groups = [self._group(group) for group in self._routes.groups() if group]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}

    def _group(self, group: str) -> Object:
        versions = [
            {"groupVersion": f"{group}/{version}", "version": version} for version in self._routes.versions(group)
        ]
        return {"name": group, "versions": versions, "preferredVersion": versions[0]}

    def _aggregate(self, groups: list[str], version: str) -> Object:
        items = []
        for group in groups:
            versions = [
                {"version": served, "resources": [_aggregated_resource(row) for row in rows.values()]}
                | {"freshness": "Current"}
                for served, rows in self._routes.versions(group).items()
            ]
            items.append({"metadata": {"name": group} if group else {}, "versions": versions})
        return {
            "kind": "APIGroupDiscoveryList",
            "apiVersion": f"apidiscovery.k8s.io/{version}",
            "metadata": {},
            "items": items,
        }


def _resource_list(rows: Mapping[str, Resource]) -> Object:
    resources = []
    for row in rows.values():
        resources.append(_resource(row))
        resources.extend(_subresource(row, name) for name in row.subresources)
    some = next(iter(rows.values()))
    head = {"kind": "APIResourceList", "apiVersion": "v1"} if some.group else {"kind": "APIResourceList"}
    return {**head, "groupVersion": some.api_version, "resources": resources}


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
        digest = hashlib.sha256(f"{stored.group}/{stored.version}/{row.kind}".encode()).digest()
        resource["storageVersionHash"] = base64.b64encode(digest[:8]).decode()
    return resource


def _subresource(row: Resource, name: str) -> Object:
    subresource = describe(row, name)
    document: Object = {"name": f"{row.name}/{name}", "singularName": "", "namespaced": row.namespaced}
    if subresource.group:
        document |= {"group": subresource.group, "version": subresource.version}
    return document | {"kind": subresource.kind, "verbs": list(subresource.verbs)}


def _aggregated_resource(row: Resource) -> Object:
    resource: Object = {
        "resource": row.name,
        "responseKind": {"group": "", "version": "", "kind": row.kind},
        "scope": "Namespaced" if row.namespaced else "Cluster",
        "singularResource": row.singular,
        "verbs": list(row.verbs),
    }
    if row.short:
        resource["shortNames"] = list(row.short)
    if row.categories:
        resource["categories"] = list(row.categories)
    if row.subresources:
        resource["subresources"] = []
        for name in row.subresources:
            subresource = describe(row, name)
            kind = {"group": subresource.group, "version": subresource.version, "kind": subresource.kind}
            resource["subresources"].append(
                {"subresource": name, "responseKind": kind, "verbs": list(subresource.verbs)}
            )
    return resource
