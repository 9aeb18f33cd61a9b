"""Interfaces, addresses and routes: of pods and of nodes. The only user of netlink."""

from netproxy.links.pods import PodLinks

__all__ = ["PodLinks"]
