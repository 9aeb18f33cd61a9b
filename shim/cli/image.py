"""``shim image``: the images that pods on this machine can use."""

from __future__ import annotations

import argparse
import asyncio
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nodeagent.engine.contract import EngineError, Image
from nodeagent.images import Images
from nodeagent.images.credentials import Credential
from shim.cli import place
from shim.cli.common import cluster_flags, need_root
from shim.cluster import ClusterError


def image_flags(parser: argparse.ArgumentParser) -> None:
    from shim.api.flags import Parser

    listed = "|".join(_ACTIONS)
    actions = parser.add_subparsers(dest="action", metavar=listed, required=True, parser_class=Parser)
    for name, (_, words) in _ACTIONS.items():
        action = actions.add_parser(name, help=words)
        _arguments(name, action)
        cluster_flags(action)


def _arguments(name: str, action: argparse.ArgumentParser) -> None:
    match name:
        case "import":
            action.add_argument("file", type=Path, metavar="FILE")
            action.add_argument("--tag", default="", help="a name for an image whose archive has none")
        case "export":
            action.add_argument("reference", metavar="IMAGE")
            action.add_argument("file", type=Path, metavar="FILE")
        case "pull":
            action.add_argument("references", nargs="+", metavar="IMAGE")
            action.add_argument("--login", metavar="USER:PASSWORD", help="for registries that want one")
        case "rm":
            action.add_argument("references", nargs="+", metavar="IMAGE")
        case "tag":
            action.add_argument("reference", metavar="IMAGE")
            action.add_argument("name_", metavar="NAME", help="the further name")
        case "prune":
            action.add_argument("--all", action="store_true", help="also what was imported or built")
        case "build-from":
            action.add_argument("folder", type=Path, metavar="DIR")
            action.add_argument("--tag", required=True, help="the name of the new image")
            action.add_argument("--base", default="", metavar="IMAGE", help="the image it is laid over (default: none)")
            action.add_argument("--cmd", help="the command and its arguments, as a shell splits them")
            action.add_argument("--entrypoint", help="likewise")
            action.add_argument("--env", action="append", metavar="NAME=VALUE", help="may be given several times")
            action.add_argument("--workdir", metavar="PATH", help="where the command starts")
            action.add_argument("--user", metavar="USER[:GROUP]", help="who runs it")


def image(args: argparse.Namespace) -> int:
    """Do what ``args.action`` names."""
    need_root("images belong to root")
    images = Images(place.image_dir(args))
    try:
        _ACTIONS[args.action][0](images, args)
    except EngineError as error:
        raise ClusterError(str(error)) from error
    return 0


def _import(images: Images, args: argparse.Namespace) -> None:
    if not args.file.exists():
        raise ClusterError(f"{args.file} does not exist")
    for imported in images.import_archive(str(args.file), args.tag):
        print("imported", *_names(imported))


def _export(images: Images, args: argparse.Namespace) -> None:
    digest = images.export(args.reference, args.file.absolute())
    print(f"exported {args.reference} to {args.file} ({digest})")


def _pull(images: Images, args: argparse.Namespace) -> None:
    user, _, password = (args.login or "").partition(":")
    logins = [Credential(user, password)] if args.login else []
    for reference in args.references:
        print("pulled", *_names(asyncio.run(images.pull(reference, logins))))


def _rm(images: Images, args: argparse.Namespace) -> None:
    for reference in args.references:
        for gone in images.remove(reference):
            print("removed", gone)


def _tag(images: Images, args: argparse.Namespace) -> None:
    print("tagged", images.tag(args.reference, args.name_))


def _prune(images: Images, args: argparse.Namespace) -> None:
    """``localhost/host`` and busybox were made for the first pods: they stay in any case."""
    from nodeagent.images.builtin import NAMES

    before = _used(images)
    for gone in images.prune(kept=lambda each: bool(NAMES & {*each.tags}) or not (args.all or each.pulled)):
        print("removed", gone)
    print(f"freed {(before - _used(images)) / 1e6:.1f} MB")


def _used(images: Images) -> int:
    return sum(each.size for each in images.images())


def _build(images: Images, args: argparse.Namespace) -> None:
    if not args.folder.is_dir():
        raise ClusterError(f"{args.folder} is not a folder")
    says: dict[str, Any] = {
        "Cmd": shlex.split(args.cmd) if args.cmd is not None else None,
        "Entrypoint": shlex.split(args.entrypoint) if args.entrypoint is not None else None,
        "Env": args.env,
        "WorkingDir": args.workdir,
        "User": args.user,
    }
    told = {key: value for key, value in says.items() if value is not None}
    print("built", *_names(images.build(args.folder, args.tag, told, args.base)))


def _names(image: Image) -> tuple[str, ...]:
    return image.tags or (image.id,)


def _ls(images: Images, args: argparse.Namespace) -> None:
    rows = [("IMAGE", "ID", "SIZE")]
    for each in images.images():
        size = f"{each.size / 1e6:.1f} MB"
        rows += [(tag, each.id.removeprefix("sha256:")[:12], size) for tag in each.tags or ("<none>",)]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


_ACTIONS: dict[str, tuple[Callable[[Images, argparse.Namespace], None], str]] = {
    "ls": (_ls, "list images"),
    "import": (_import, "import a docker-archive or OCI archive (as `docker save` writes)"),
    "export": (_export, "write an image to a file that `docker load`, skopeo and `import` read"),
    "pull": (_pull, "fetch images from their registries"),
    "rm": (_rm, "remove a tag, and the image with its last one"),
    "tag": (_tag, "give an image a further name"),
    "prune": (_prune, "remove pulled images that no container uses"),
    "build-from": (_build, "make an image of what stands in a folder"),
}
