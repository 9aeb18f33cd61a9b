"""What can be asked of this server? Its resources, each in its preferred version, by aggregated discovery."""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from shim.api.meta import GVR, Object
from shim.api.status import ApiError
from shim.client.transport import Client

_ACCEPT = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


@dataclass(frozen=True, slots=True)
class Served:
    """One resource the server serves."""

    gvr: GVR
    kind: str
    verbs: frozenset[str]
    subresources: frozenset[str]


@dataclass(frozen=True, slots=True)
class Discovered:
    """What a server serves; ``stale`` are group versions (``GROUP/VERSION``) whose extension server does not answer."""

    served: tuple[Served, ...]
    stale: frozenset[str]

    def failure(self) -> str:
        """Why this may not be all there is, in the words of a Go client; "" when it is."""
        failed = ", ".join(f"{each}: stale GroupVersion discovery: {each}" for each in sorted(self.stale))
        return f"unable to retrieve the complete list of server APIs: {failed}" if failed else ""


async def discover(client: Client) -> Discovered:
    """Every resource, once, in the version its group prefers. Raises ApiError."""
    served, stale = [], set()
    for path in ("/api", "/apis"):
        for group in (await _ask(client, path))["items"]:
            seen: set[str] = set()
            for version in group["versions"]:  # the preferred one is first
                if version.get("freshness") == "Stale":
                    stale.add(f"{group['metadata'].get('name', '')}/{version['version']}")
                for resource in version.get("resources") or ():
                    if resource["resource"] not in seen:
                        seen.add(resource["resource"])
                        served.append(_served(group["metadata"].get("name") or "", version["version"], resource))
    return Discovered(tuple(served), frozenset(stale))


def _served(group: str, version: str, resource: Object) -> Served:
    gvr = GVR(group, version, resource["resource"], resource["scope"] == "Namespaced")
    below = frozenset(each["subresource"] for each in resource.get("subresources") or ())
    return Served(gvr, resource["responseKind"]["kind"], frozenset(resource.get("verbs") or ()), below)


async def _ask(client: Client, path: str) -> Object:
    status, body = await client.raw("GET", path, headers={"Accept": _ACCEPT})
    answer = orjson.loads(body)
    if status != 200:
        raise ApiError.from_status(answer, status)
    if answer.get("kind") != "APIGroupDiscoveryList":
        raise ApiError(500, "InternalError", f"{path}: the server has no aggregated discovery")
    assert isinstance(answer, dict)
    return answer
