"""``shim image``: the images that pods on this machine can use."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from nodeagent.engine.contract import EngineError
from nodeagent.images import Images
from nodeagent.images.credentials import Credential
from shim.cli.common import cluster_flags, find_cluster, need_root
from shim.cluster import ClusterError


def image_flags(parser: argparse.ArgumentParser) -> None:
    from shim.api.flags import Parser

    actions = parser.add_subparsers(dest="action", metavar="ls|import|pull|rm", required=True, parser_class=Parser)
    ls = actions.add_parser("ls", help="list images")
    load = actions.add_parser("import", help="import a docker-archive or OCI archive (as `docker save` writes)")
    load.add_argument("file", type=Path, metavar="FILE")
    load.add_argument("--tag", default="", help="a name for an image whose archive has none")
    pull = actions.add_parser("pull", help="fetch images from their registries")
    pull.add_argument("references", nargs="+", metavar="IMAGE")
    pull.add_argument("--login", metavar="USER:PASSWORD", help="for registries that want one")
    rm = actions.add_parser("rm", help="remove a tag, and the image with its last one")
    rm.add_argument("references", nargs="+", metavar="IMAGE")
    for action in (ls, load, pull, rm):
        cluster_flags(action)


def image(args: argparse.Namespace) -> int:
    """List, import, pull or remove."""
    need_root("images belong to root")
    images = Images(find_cluster(args).image_dir)
    try:
        if args.action == "import":
            if not args.file.exists():
                raise ClusterError(f"{args.file} does not exist")
            for imported in images.import_archive(str(args.file), args.tag):
                print("imported", *(imported.tags or (imported.id,)))
        elif args.action == "pull":
            user, _, password = (args.login or "").partition(":")
            logins = [Credential(user, password)] if args.login else []
            for reference in args.references:
                print("pulled", *asyncio.run(images.pull(reference, logins)).tags)
        elif args.action == "rm":
            for reference in args.references:
                for gone in images.remove(reference):
                    print("removed", gone)
        else:
            _table(images)
    except EngineError as error:
        raise ClusterError(str(error)) from error
    return 0


def _table(images: Images) -> None:
    rows = [("IMAGE", "ID", "SIZE")]
    for each in images.images():
        size = f"{each.size / 1e6:.1f} MB"
        rows += [(tag, each.id.removeprefix("sha256:")[:12], size) for tag in each.tags or ("<none>",)]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
