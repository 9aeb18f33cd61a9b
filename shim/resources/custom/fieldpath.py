"""Paths by which a definition refers to fields of its schema: ``.spec.color``, ``.spec.labels['a.b']``."""

from __future__ import annotations

import re
from typing import NamedTuple

from shim.resources.custom.structure import Node

_NOWHERE = "does not refer to a valid field"
_SIMPLE_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "'": "'", "\\": "\\"}
_TOKENS = re.compile(r"'(?:[^'\\]|\\.)*'|[.\[\]]|[^.\[\]]+")


class PathProblem(ValueError):
    """A path that leads nowhere; the text is upstream's."""


class Place(NamedTuple):
    """What a path means: as error messages write it (``.spec.color``, ``.spec.labels[a]``), and its schema."""

    text: str
    keys: tuple[str, ...]
    node: Node


def resolve(path: str, node: Node, *, brackets: bool = True) -> Place:
    """Where a path leads from a schema. Raises PathProblem."""
    tokens = _TOKENS.findall(path)
    text, keys, at = "", [], 0

    def following() -> str:
        nonlocal at
        if at >= len(tokens):
            raise PathProblem("unexpected end of JSON path")
        at += 1
        return str(tokens[at - 1])

    while at < len(tokens):
        token = following()
        if token == ".":
            name = following()
        elif token == "[":
            if not brackets:
                raise PathProblem("array notation is not allowed")
            quoted = following()
            if len(quoted) < 2 or quoted[0] != "'" or quoted[-1] != "'":
                raise PathProblem(f"expected single quoted string but got {quoted}")
            name = _unescape(quoted[1:-1])
        else:
            raise PathProblem(f"expected [ or . but got: {token}")
        if node.properties:
            if name not in node.properties:
                raise PathProblem(_NOWHERE)
            node, text = node.properties[name], f"{text}.{name}"
        elif node.additional is not None:
            node, text = node.additional, f"{text}[{name}]"
        else:
            raise PathProblem(_NOWHERE)
        keys.append(name)
        if token == "[" and (end := following()) != "]":
            raise PathProblem(f"expected ] but got {end}")
    return Place(text, tuple(keys), node)


def _unescape(text: str) -> str:
    def plain(match: re.Match[str]) -> str:
        if match[1] not in _SIMPLE_ESCAPES:
            raise PathProblem(f"invalid string literal: invalid escape char {match[0]}")
        return _SIMPLE_ESCAPES[match[1]]

    return re.sub(r"\\(.)", plain, text)
