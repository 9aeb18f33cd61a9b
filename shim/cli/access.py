"""``shim kubeconfig`` and ``shim logs``: what a user needs to look inside."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import yaml

from shim.cli import place
from shim.cli.common import absolute, cluster_flags, find_cluster
from shim.cluster import ClusterError


def kubeconfig_flags(parser: argparse.ArgumentParser) -> None:
    cluster_flags(parser)
    parser.add_argument(
        "--server", default="", metavar="URL", help="how the API server is called where the file will be used"
    )


def kubeconfig(args: argparse.Namespace) -> int:
    """Print the admin kubeconfig, also that of an API server that runs alone in ``--data-dir``."""
    data_dir = absolute(args.data_dir)
    path = data_dir / "admin.kubeconfig" if data_dir is not None else find_cluster(args).admin_kubeconfig
    try:
        text = path.read_text()
    except FileNotFoundError:
        raise ClusterError(f"{path} does not exist; has the API server run with this data directory?") from None
    except PermissionError:
        raise ClusterError(f"{path} is only for its owner; try sudo") from None
    if args.server:
        content = yaml.safe_load(text)
        for each in content["clusters"]:
            each["cluster"]["server"] = args.server
        text = yaml.safe_dump(content, sort_keys=False)
    sys.stdout.write(text)
    return 0


def logs_flags(parser: argparse.ArgumentParser) -> None:
    cluster_flags(parser)
    parser.add_argument(
        "part", nargs="?", metavar="PART", help="such as apiserver or node-1.nodeagent; none lists them"
    )
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what is added")
    parser.add_argument("--tail", type=int, default=-1, metavar="N", help="only the last N lines")


def logs(args: argparse.Namespace) -> int:
    """Print a part's log file."""
    parts = place.log_files(args)
    if args.part is None:
        print("\n".join(sorted(parts)))
        return 0
    if args.part not in parts:
        raise ClusterError(f"no part is called {args.part!r}; there are: {', '.join(sorted(parts))}")
    path = parts[args.part]
    with open(path, errors="replace") as file:
        lines = file.readlines()
        sys.stdout.writelines(lines[-args.tail :] if args.tail > 0 else [] if args.tail == 0 else lines)
        if args.follow:
            for text in _added(path, file.tell()):
                sys.stdout.write(text)
                sys.stdout.flush()
    return 0


def _added(path: Path, position: int) -> Iterator[str]:
    """What is written to a file from a position on, for ever."""
    with open(path, errors="replace") as file:
        file.seek(position)
        while True:
            if os.stat(path).st_size < file.tell():  # truncated: begin again
                file.seek(0)
            text = file.read()
            if text:
                yield text
            else:
                time.sleep(0.2)
