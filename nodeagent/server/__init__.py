"""The kubelet's HTTP API: what the API server asks a node for."""

from nodeagent.server.app import serve

__all__ = ["serve"]
