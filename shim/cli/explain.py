"""``shim explain``: what a pod is made of, and the way of a packet to a Service."""

from __future__ import annotations

import argparse

from shim.cli import place
from shim.cli.common import cluster_flags, need_root
from shim.cluster import ClusterError

_SERVICE, _POD = ("service", "services", "svc"), ("pod", "pods", "po")


def explain_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("object", metavar="pod/NAME|service/NAME", help="what is explained")
    parser.add_argument("-n", "--namespace", default="default", help="its namespace (default: default)")
    parser.add_argument("--steps", action="store_true", help="of a pod: how it came to be, step by step")
    parser.add_argument("--node", help="of a Service: the node whose rules are read (default: the first)")
    cluster_flags(parser)


def explain(args: argparse.Namespace) -> int:
    """Print what is known of the object."""
    kind, _, name = args.object.partition("/")
    if kind not in (*_SERVICE, *_POD) or not name:
        raise ClusterError(f"{args.object!r} can not be explained: say pod/NAME or service/NAME")
    need_root("it reads the rules, namespaces and cgroups of a node")
    here = place.find_nodes(args)
    if kind in _POD:
        from shim.cli.explain_pod import explain_pod

        explain_pod(here, args.namespace, name, steps=args.steps)
        return 0
    from shim.cli.explain_service import explain_service

    explain_service(here.kubeconfig, args.namespace, name, here.node(args.node) if args.node else here.nodes[0])
    return 0
