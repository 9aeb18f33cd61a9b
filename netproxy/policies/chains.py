"""The names of the chains and sets of policies, and how a packet gets to them.

They are in the table mangle, whose FORWARD comes before filter's: there the rules of Services accept packets, and those
of policies would depend on which part came last to put itself first. Packets from or to the node itself pass no
FORWARD: a node may always reach its pods, as Kubernetes demands for the kubelet's probes.
"""

from __future__ import annotations

from base64 import b32encode
from hashlib import sha256

from netproxy.rules.family import ChainFamily

TABLE = "mangle"
POLICIES = "KUBE-POLICIES"
"""Where every forwarded packet comes by: sends those of isolated pods to the pod's own chains."""
INGRESS, EGRESS = "KUBE-POL-IN-", "KUBE-POL-OUT-"
SETS = "KUBE-POL-"

FAMILY = ChainFamily(
    fixed={TABLE: (POLICIES,)},
    hashed={TABLE: (INGRESS, EGRESS)},
    jumps={TABLE: (f'FORWARD -m comment --comment "kubernetes network policies" -j {POLICIES}',)},
)


def ingress_chain(pod: str) -> str:
    """What a pod of this node accepts."""
    return INGRESS + _hash(pod)


def egress_chain(pod: str) -> str:
    """What a pod of this node may send."""
    return EGRESS + _hash(pod)


def set_name(content: str) -> str:
    """A set of addresses, by what it is to hold."""
    return SETS + _hash(content)


def _hash(text: str) -> str:
    return b32encode(sha256(text.encode()).digest())[:12].decode()
