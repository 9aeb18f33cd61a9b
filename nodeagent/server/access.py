"""Who may use the kubelet's API? Whoever the API server knows, and lets use this node's subresource.

A client certificate of the cluster's CA or a token says who asks; a SubjectAccessReview says whether that one may.
"""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web
from aiohttp.typedefs import Handler

from shim.api.status import ApiError
from shim.client import Client
from shim.client.reviews import VERBS, Reviews, User

_OWN = {  # the first part of a path -> the subresources of the node, any of which suffices
    "pods": ("pods", "proxy"),
    "runningpods": ("pods", "proxy"),
    "healthz": ("healthz", "proxy"),
    "configz": ("configz", "proxy"),
    "stats": ("stats",),
    "metrics": ("metrics",),
    "logs": ("log",),
    "checkpoint": ("checkpoint",),
    "statusz": ("statusz",),
    "flagz": ("configz",),
}


class Access:
    """Asks before anything is answered."""

    def __init__(self, client: Client, node_name: str) -> None:
        self._reviews, self._node = Reviews(client), node_name

    @web.middleware
    async def check(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """401 for nobody known, 403 for who may not, both in a kubelet's words."""
        try:
            user = await self._reviews.user(request)
            if user is None:
                return web.Response(status=401, text="Unauthorized")
            verb, subresources = VERBS.get(request.method, ""), subresources_of(request.path)
            if not await self._may(user, verb, subresources):
                listed = " ".join(subresources)
                said = f"Forbidden (user={user.name}, verb={verb}, resource=nodes, subresource(s)=[{listed}])\n"
                return web.Response(status=403, text=said)
        except ApiError as error:
            return web.Response(status=500, text=f"Authorization error: {error.message}")
        return await handler(request)

    async def _may(self, user: User, verb: str, subresources: Sequence[str]) -> bool:
        for subresource in subresources:
            asked = {"verb": verb, "version": "v1", "resource": "nodes", "subresource": subresource, "name": self._node}
            if await self._reviews.may(user, resourceAttributes=asked):
                return True
        return False


def subresources_of(path: str) -> tuple[str, ...]:
    """Of the node: what one must be allowed to use (any of them) for a path of the kubelet's API. Pure."""
    return _OWN.get(path.strip("/").partition("/")[0], ("proxy",))
