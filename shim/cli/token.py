"""``shim token``: the bootstrap tokens that let other machines join, as ``kubeadm token`` prints them."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import datetime
import json
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import yaml

from shim import cluster as clusters
from shim.api import bootstrap_tokens
from shim.api.bootstrap_tokens import BootstrapToken
from shim.api.certificates import key_pin
from shim.api.duration import parse_duration
from shim.api.meta import Object
from shim.api.status import ApiError
from shim.cli.common import absolute, cluster_flags
from shim.client import Client
from shim.client import resource as r
from shim.client.kubeconfig import KubeconfigError
from shim.cluster import ClusterError
from shim.joining import master

PATIENCE = 15.0


def token_flags(parser: argparse.ArgumentParser) -> None:
    from shim.api.flags import Parser

    actions = parser.add_subparsers(dest="action", metavar="create|list|delete|generate", required=True)
    actions._parser_class = Parser  # one-line errors
    create = actions.add_parser("create", help="make a token, and print it")
    create.add_argument("token", nargs="?", metavar="TOKEN", help="the token to make; a random one otherwise")
    create.add_argument("--ttl", default="24h0m0s", metavar="DURATION", help="how long it lasts; 0: for ever")
    create.add_argument(
        "--usages", default=",".join(bootstrap_tokens.USAGES), metavar="A,B", help="what it is good for"
    )
    create.add_argument("--groups", default=bootstrap_tokens.NODES_GROUP, metavar="A,B", help="groups of its bearer")
    create.add_argument("--description", default="", metavar="TEXT", help="who it is for")
    create.add_argument(
        "--master", action="store_true", help="for a further master: also share this one's keys with it"
    )
    create.add_argument(
        "--certificate-key", default="", metavar="HEX", help="with --master: encrypt them with this, not a random key"
    )
    create.add_argument("--print-join-command", action="store_true", help="print what to type on the new machine")
    listing = actions.add_parser("list", help="print the tokens there are")
    delete = actions.add_parser("delete", help="end tokens, named by themselves or their ids")
    delete.add_argument("tokens", nargs="+", metavar="TOKEN")
    actions.add_parser("generate", help="print a random token that is not made")
    for action in (create, listing, delete):
        cluster_flags(action)
        action.add_argument(
            "--kubeconfig", type=Path, help="how to reach the API server (default: that of the cluster)"
        )


def token(args: argparse.Namespace) -> int:
    """Make, list, end."""
    if args.action == "generate":
        print(".".join(bootstrap_tokens.generate()))
        return 0
    data_dir = absolute(args.data_dir) or clusters.default_data_dir(args.name)
    args.pki = data_dir / "pki"
    kubeconfig = args.kubeconfig or data_dir / "admin.kubeconfig"
    try:
        asyncio.run(_do(kubeconfig, args))
    except FileNotFoundError as error:
        raise ClusterError(f"{error.filename} does not exist; name a cluster with --data-dir or --kubeconfig") from None
    except PermissionError:
        raise ClusterError(f"{kubeconfig} is only for its owner; try sudo") from None
    except (ApiError, ValueError, KubeconfigError) as error:
        raise ClusterError(str(error)) from None
    return 0


async def _do(kubeconfig: Path, args: argparse.Namespace) -> None:
    actions: dict[str, Callable[[Client, argparse.Namespace], Awaitable[None]]] = {
        "create": _create,
        "list": _list,
        "delete": _delete,
    }
    async with Client.from_kubeconfig(kubeconfig, user_agent="shim-token") as client:
        await actions[args.action](client, args)


async def _create(client: Client, args: argparse.Namespace) -> None:
    made = _wanted(args, datetime.datetime.now(datetime.UTC))
    command = await join_command(client, made) if args.print_join_command or args.master else ""
    if args.master:
        made = dataclasses.replace(made, groups=(bootstrap_tokens.MASTERS_GROUP,))
    try:
        stored = await client.create(r.SECRETS, made.stored())
    except ApiError as error:
        if error.reason != "AlreadyExists":
            raise
        raise ClusterError(f"a token with id {json.dumps(made.id)} already exists") from None
    if args.master:
        key = args.certificate_key or master.new_key()
        command = await _share_keys(client, args.pki, key, stored, command)
    print(command or made)


async def _share_keys(client: Client, pki_dir: Path, key: str, stored: Object, command: str) -> str:
    """Store what masters share, for as long as the token lasts; what to type on the new one. Raises ValueError."""
    shared = master.encrypted(pki_dir, key)
    owner = {"apiVersion": "v1", "kind": "Secret", "name": stored["metadata"]["name"], "uid": stored["metadata"]["uid"]}
    shared["metadata"]["ownerReferences"] = [owner]
    with contextlib.suppress(ApiError):
        await client.delete(r.SECRETS, master.NAME, master.NAMESPACE)
    await client.create(r.SECRETS, shared)
    joining = command.replace("shim agent --server", "shim server --join")
    return f"{joining} --certificate-key {key} --store etcd://…"


def _wanted(args: argparse.Namespace, present: datetime.datetime) -> BootstrapToken:
    """Raises ValueError."""
    parsed = bootstrap_tokens.parse(args.token) if args.token else bootstrap_tokens.generate()
    if parsed is None:
        form = bootstrap_tokens.PATTERN
        raise ValueError(f"the bootstrap token {json.dumps(args.token)} was not of the form {json.dumps(form)}")
    usages, groups = (tuple(part for part in text.split(",") if part) for text in (args.usages, args.groups))
    bootstrap_tokens.check_usages(usages)
    bootstrap_tokens.check_groups(groups)
    seconds = parse_duration(args.ttl) if args.ttl != "0" else 0.0
    expires = present + datetime.timedelta(seconds=seconds) if seconds else None
    return BootstrapToken(*parsed, expires, usages, groups, args.description)


async def join_command(client: Client, made: BootstrapToken) -> str:
    """What to type on the machine that is to join. Raises ValueError where nothing is published for it."""
    info = await _published(client)
    cluster = yaml.safe_load(info["data"][bootstrap_tokens.INFO_KEY])["clusters"][0]["cluster"]
    pin = key_pin(cluster["certificate-authority-data"])
    return f"shim agent --server {cluster['server']} --token {made} --ca-hash {pin}"


async def _published(client: Client) -> Object:
    """What machines that join read first; the controllers of a cluster that has just begun are waited for."""
    give_up = time.monotonic() + PATIENCE
    while True:
        try:
            return await client.get(r.CONFIGMAPS, bootstrap_tokens.INFO_NAME, bootstrap_tokens.INFO_NAMESPACE)
        except ApiError as error:
            if error.code != 404:
                raise
        if time.monotonic() > give_up:
            raise ValueError(
                "the cluster publishes no address to join it at: do its controllers work, with --public-url?"
            )
        await asyncio.sleep(0.5)


async def _list(client: Client, args: argparse.Namespace) -> None:
    selector = f"type={bootstrap_tokens.TYPE}"
    found = await client.list(r.SECRETS, bootstrap_tokens.NAMESPACE, field_selector=selector)
    rows = []
    for secret in found["items"]:
        try:
            rows.append(_row(bootstrap_tokens.read(secret), datetime.datetime.now(datetime.UTC)))
        except ValueError as error:
            print(error, file=sys.stderr)
    if rows:
        print(table(rows), end="")


async def _delete(client: Client, args: argparse.Namespace) -> None:
    for text in args.tokens:
        parsed = bootstrap_tokens.parse(text)
        token_id = parsed[0] if parsed else text
        if not bootstrap_tokens.is_id(token_id):
            forms = f"{json.dumps(bootstrap_tokens.PATTERN)} or {json.dumps(bootstrap_tokens.ID_PATTERN)}"
            raise ValueError(f"given token didn't match pattern {forms}")
        try:
            await client.delete(r.SECRETS, bootstrap_tokens.PREFIX + token_id, bootstrap_tokens.NAMESPACE)
        except ApiError as error:
            raise ClusterError(f"failed to delete bootstrap token {json.dumps(token_id)}: {error}") from None
        print(f"bootstrap token {json.dumps(token_id)} deleted")


COLUMNS = ("TOKEN", "TTL", "EXPIRES", "USAGES", "DESCRIPTION", "EXTRA GROUPS")


def _row(found: BootstrapToken, present: datetime.datetime) -> tuple[str, ...]:
    ttl, expires = "<forever>", "<never>"
    if found.expires is not None:
        ttl = short_duration((found.expires - present).total_seconds())
        expires = found.expires.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    usages, groups = (",".join(part) or "<none>" for part in (found.usages, found.groups))
    return str(found), f"{ttl:9}", expires, f"{usages:22}", f"{found.description or '<none>':56}", groups


def table(rows: list[tuple[str, ...]]) -> str:
    """Columns as wide as their widest cell and three spaces more, as kubeadm prints them."""
    lines = [COLUMNS, *rows]
    widths = [max(10, 3 + max(len(line[column]) for line in lines)) for column in range(len(COLUMNS) - 1)]
    text = ""
    for line in lines:
        text += "".join(cell.ljust(width) for cell, width in zip(line, widths, strict=False)) + line[-1] + "\n"
    return text


def short_duration(seconds: float) -> str:
    """As kubectl shows ages where there is little room."""
    if seconds < 0:
        return "0s" if seconds > -2 else "<invalid>"
    for size, letter in ((365 * 86400, "y"), (86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{int(seconds // size)}{letter}"
    return f"{int(seconds)}s"
