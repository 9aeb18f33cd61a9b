"""Subresources that are orders rather than sides of an object: bind this pod, evict it, give me a token.

Sides of objects (status, scale) are :mod:`shim.server.facets`; streams (exec, logs) are in :mod:`shim.server.streams`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from shim.server.parts import Call
from shim.server.streams import STREAMS
from shim.server.subresources.admit import admit_connection
from shim.server.subresources.binding import bind, bind_named
from shim.server.subresources.eviction import evict
from shim.server.subresources.proxy import PROXIES
from shim.server.subresources.token import issue_token

Handler = Callable[[Call], Awaitable[web.StreamResponse]]

ORDERS: dict[tuple[str, str], Handler] = {
    ("pods", "binding"): bind,
    ("pods", "eviction"): evict,
    ("serviceaccounts", "token"): issue_token,
}
"""By resource and subresource: what a POST does."""

CONNECT: dict[tuple[str, str], Handler] = {**STREAMS, **PROXIES}
"""What something else in the cluster answers: a node's kubelet, a pod."""

__all__ = ["CONNECT", "ORDERS", "Handler", "admit_connection", "bind_named"]
