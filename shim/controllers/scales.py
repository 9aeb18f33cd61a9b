"""How many replicas is an owner of any kind asked to keep? What its subresource ``scale`` says, found by discovery."""

from __future__ import annotations

from shim.api.meta import GVR, Object
from shim.client import Client
from shim.client.discovery import Served, discover


class Scales:
    """Asks the server each time; only which kinds there are is kept, and looked up anew for one that is not known."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._kinds: dict[tuple[str, str], Served] = {}

    async def served(self, group: str, kind: str) -> Served | None:
        """The resource of a kind, if there is one. Raises ApiError."""
        if (group, kind) not in self._kinds:
            self._kinds = {}
            for each in (await discover(self._client)).served:
                self._kinds.setdefault((each.gvr.group, each.kind), each)
        return self._kinds.get((group, kind))

    async def get(self, gvr: GVR, name: str, namespace: str) -> Object:
        """The scale of one object. Raises ApiError."""
        return await self._client.get(gvr, name, namespace, subresource="scale")

    async def replace(self, gvr: GVR, scale: Object, replicas: int) -> None:
        """Ask for another number, unless somebody else has done so since this was read. Raises ApiError."""
        wanted = {**scale, "spec": {**scale["spec"], "replicas": replicas}}
        await self._client.update(gvr, wanted, subresource="scale")
