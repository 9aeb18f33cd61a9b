"""What does a JSON patch (RFC 6902) or a merge patch (RFC 7386) make of an object?

Both return a new object and leave the old one alone; what the patch does not touch is shared between the two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

MAX_OPERATIONS = 10_000  # upstream's limit


class PatchError(ValueError):
    """A patch that cannot be read (400), or does not apply to this object (422); the text says why."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def merge_patch(old: Any, patch: Any) -> Any:
    """RFC 7386: null removes, objects are merged, everything else replaces."""
    if not isinstance(patch, dict):
        return patch
    new = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            new.pop(key, None)
        elif isinstance(value, dict):
            new[key] = merge_patch(new.get(key), value)
        else:
            new[key] = value
    return new


_SAID = "error decoding patch: json: cannot unmarshal"


def _name(value: Any) -> str:
    return {dict: "object", list: "array", str: "string", bool: "bool"}.get(type(value), "number")


def read(patch: Any) -> list[Mapping[str, Any]]:
    """Check the form of a JSON patch. Raises PatchError (400, 413)."""
    if not isinstance(patch, list):
        raise PatchError(400, f"{_SAID} {_name(patch)} into Go value of type []handlers.jsonPatchOp")
    for operation in patch:
        if operation is not None and not isinstance(operation, dict):
            raise PatchError(400, f"{_SAID} {_name(operation)} into Go value of type handlers.jsonPatchOp")
        for name in ("op", "path", "from"):
            value = (operation or {}).get(name)
            if value is not None and not isinstance(value, str):
                raise PatchError(400, f"{_SAID} {_name(value)} into Go struct field jsonPatchOp.{name} of type string")
    if len(patch) > MAX_OPERATIONS:
        text = f"The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {len(patch)}"
        raise PatchError(413, f"Request entity too large: {text}")
    return [operation or {} for operation in patch]


def apply(old: Any, patch: Sequence[Mapping[str, Any]]) -> Any:
    """RFC 6902. Raises PatchError (422) when an operation does not apply; nothing is changed then."""
    document = _Document(old)
    for operation in patch:
        name = operation.get("op")
        perform = _OPERATIONS.get(name) if isinstance(name, str) else None
        if perform is None:
            raise PatchError(422, f"Unexpected kind: {name if isinstance(name, str) else 'unknown'}")
        perform(document, operation)
    return document.root


class _Document:
    """The patched document. A container is copied before it is changed for the first time."""

    def __init__(self, root: Any) -> None:
        self.root = root
        self._mine: set[int] = set()
        self._kept: list[Any] = []  # keeps what _mine names alive, so that an id means one container

    def _own(self, container: Any) -> Any:
        if id(container) in self._mine:
            return container
        copy = container.copy()
        self._mine.add(id(copy))
        self._kept.append(copy)
        return copy

    def find(self, path: str) -> Any:
        """The value at a path. Raises KeyError."""
        value = self.root
        for step in _steps(path):
            value = value[_index(value, step)] if isinstance(value, list) else _get(value, step)
        return value

    def parent(self, path: str) -> tuple[Any, str]:
        """The container of a path's last step, free to be changed, and that step. Raises KeyError."""
        *steps, last = _steps(path)
        if not isinstance(self.root, dict | list):
            raise KeyError(path)
        self.root = container = self._own(self.root)
        for step in steps:
            key: Any = _index(container, step) if isinstance(container, list) else step
            below = container[key] if isinstance(container, list) else _get(container, step)
            if not isinstance(below, dict | list):
                raise KeyError(path)
            container[key] = below = self._own(below)
            container = below
        return container, last

    def add(self, path: str, value: Any) -> None:
        if not path:
            self.root = value
            return
        container, step = self.parent(path)
        if isinstance(container, list):
            container.insert(len(container) if step == "-" else _index(container, step, end=1), value)
        else:
            container[step] = value

    def remove(self, path: str) -> None:
        container, step = self.parent(path)
        if isinstance(container, list):
            del container[_index(container, step)]
        else:
            _get(container, step)
            del container[step]


def _steps(path: str) -> list[str]:
    if not path:
        return []
    if not path.startswith("/"):
        raise KeyError(path)
    return [step.replace("~1", "/").replace("~0", "~") for step in path[1:].split("/")]


def _get(container: Any, step: str) -> Any:
    if not isinstance(container, dict):
        raise KeyError(step)
    return container[step]


def _index(container: list[Any], step: str, *, end: int = 0) -> int:
    """An index as the API's patches allow it: also from the end, as upstream's library does."""
    try:
        index = int(step)
    except ValueError:
        raise KeyError(step) from None
    size = len(container) + end
    if not -size <= index < size:
        raise KeyError(step)
    return index + size if index < 0 else index


def _text(operation: Mapping[str, Any], name: str) -> str:
    value = operation.get(name)
    if not isinstance(value, str):
        raise PatchError(422, f"operation missing {name} field: missing value")
    return value


def _missing(operation: str, path: str) -> PatchError:
    return PatchError(422, f'{operation} operation does not apply: doc is missing path: "{path}": missing value')


def _add(document: _Document, operation: Mapping[str, Any]) -> None:
    path = _text(operation, "path")
    try:
        document.add(path, operation.get("value"))
    except KeyError:
        raise _missing("add", path) from None


def _remove(document: _Document, operation: Mapping[str, Any]) -> None:
    path = _text(operation, "path")
    try:
        document.remove(path)
    except (KeyError, ValueError):
        raise _missing("remove", path) from None


def _replace(document: _Document, operation: Mapping[str, Any]) -> None:
    path = _text(operation, "path")
    try:
        if not path:
            document.root = operation.get("value")
            return
        container, step = document.parent(path)
        # a key that is not there counts as null to upstream's library, which can be replaced
        container[_index(container, step) if isinstance(container, list) else step] = operation.get("value")
    except KeyError:
        raise _missing("replace", path) from None


def _move(document: _Document, operation: Mapping[str, Any]) -> None:
    source, path = _text(operation, "from"), _text(operation, "path")
    try:
        value = document.find(source)
        document.remove(source)
        document.add(path, value)
    except (KeyError, ValueError):
        raise _missing("move", path) from None


def _copy(document: _Document, operation: Mapping[str, Any]) -> None:
    source, path = _text(operation, "from"), _text(operation, "path")
    try:
        container, step = document.parent(source)
        value = container[_index(container, step)] if isinstance(container, list) else container.get(step)
        document.add(path, value)
    except KeyError:
        raise _missing("copy", path) from None
    document._mine.clear()  # the value stands in two places now: a later change of one must not show in the other


def _test(document: _Document, operation: Mapping[str, Any]) -> None:
    path, wanted = _text(operation, "path"), operation.get("value")
    try:
        found = document.find(path)
    except KeyError:
        found = None  # a missing value and null are one to upstream
    if not _same(found, wanted):
        raise PatchError(422, f"testing value {path} failed: test failed")


def _same(left: Any, right: Any) -> bool:
    """Equality as JSON has it: true is not 1."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_same(value, right[key]) for key, value in left.items())
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_same, left, right))
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)


_OPERATIONS = {"add": _add, "remove": _remove, "replace": _replace, "move": _move, "copy": _copy, "test": _test}
