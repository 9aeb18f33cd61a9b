"""JSON paths as printed columns and selectable fields use them: ``.status.conditions[?(@.type=="Ready")].status``.

The part of https://kubernetes.io/docs/reference/kubectl/jsonpath/ that finds values: fields, indexes, slices,
wildcards, filters, recursive descent. A path is read once and finds many times.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

Step = Callable[[Any], Iterator[Any]]
Path = tuple[Step, ...]


class PathError(ValueError):
    """No JSON path."""


_FIELD = re.compile(r"\.((?:\\.|[^.\[\]\\])+)")
_QUOTED = re.compile(r"\[\s*(?:'((?:\\.|[^'])*)'|\"((?:\\.|[^\"])*)\")\s*\]")
_INDEX = re.compile(r"\[\s*(-?\d+)\s*\]")
_SLICE = re.compile(r"\[\s*(-?\d*)\s*:\s*(-?\d*)\s*(?::\s*(\d*)\s*)?\]")
_FILTER = re.compile(r"\[\?\(\s*@(.*?)\s*(?:(==|!=|<=|>=|<|>)\s*(.+?)\s*)?\)\]")


def parse(text: str) -> Path:
    """The steps of a path. Raises PathError."""
    text = text.strip()
    if text.startswith("{") and text.endswith("}"):
        text = text[1:-1]
    text = text.removeprefix("$")
    steps: list[Step] = []
    at = 0
    while at < len(text):
        if text.startswith("..", at):
            steps.append(_descend)
            at += 1
        elif match := re.compile(r"\.\*|\[\*\]").match(text, at):
            steps.append(_all)
            at = match.end()
        elif match := _FIELD.match(text, at):
            steps.append(_field(re.sub(r"\\(.)", r"\1", match[1])))
            at = match.end()
        elif match := _QUOTED.match(text, at):
            quoted = match[1] if match[1] is not None else match[2]
            steps.append(_field(re.sub(r"\\(.)", r"\1", quoted)))
            at = match.end()
        elif match := _INDEX.match(text, at):
            steps.append(_item(int(match[1])))
            at = match.end()
        elif match := _SLICE.match(text, at):
            bounds = [int(part) if part else None for part in match.groups()]
            steps.append(_slice(*bounds))
            at = match.end()
        elif match := _FILTER.match(text, at):
            steps.append(_filter(parse(match[1]), match[2], match[3]))
            at = match.end()
        elif text[at:] == ".":
            break
        else:
            raise PathError(f"unrecognized character in {text!r} at {at}")
    return tuple(steps)


def find(path: Path, value: Any) -> Iterator[Any]:
    """Every value a path leads to."""
    if not path:
        yield value
        return
    for found in path[0](value):
        yield from find(path[1:], found)


def first(path: Path, value: Any) -> Any:
    """The first value a path leads to, or None."""
    return next(find(path, value), None)


def _field(name: str) -> Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, dict) and name in value:
            yield value[name]

    return step


def _item(index: int) -> Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, list) and -len(value) <= index < len(value):
            yield value[index]

    return step


def _slice(*bounds: int | None) -> Step:
    return lambda value: iter(value[slice(*bounds)] if isinstance(value, list) else ())


def _all(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        yield from value
    elif isinstance(value, dict):
        yield from value.values()


def _descend(value: Any) -> Iterator[Any]:
    yield value
    for below in _all(value):
        yield from _descend(below)


def _filter(path: Path, operator: str | None, text: str | None) -> Step:
    wanted = _literal(text) if text else None

    def passes(item: Any) -> bool:
        found = list(find(path, item))
        if not found:
            return False
        if operator is None:
            return True
        left = found[0]
        if operator == "==":
            return bool(left == wanted)
        if operator == "!=":
            return bool(left != wanted)
        try:
            return bool(_COMPARISONS[operator](left, wanted))
        except TypeError:
            return False

    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, list):
            yield from (item for item in value if passes(item))

    return step


_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


def _literal(text: str) -> Any:
    if text[0] in "'\"" and text[-1] == text[0]:
        return text[1:-1]
    if text in ("true", "false"):
        return text == "true"
    try:
        return float(text) if "." in text else int(text)
    except ValueError:
        return text
