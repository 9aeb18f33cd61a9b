"""The volumes of pods: made before the first container, kept current while pods run, removed with them."""

from nodeagent.kubelet.volumes.volumes import Volumes

__all__ = ["Volumes"]
