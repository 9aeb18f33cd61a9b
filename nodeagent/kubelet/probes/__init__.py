"""Probes: is a container alive, has it started, is it ready?"""

from nodeagent.kubelet.probes.prober import Prober

__all__ = ["Prober"]
