"""What does a JSON patch (RFC 6902) or a merge patch (RFC 7386) make of an object?

Both return a new object and leave the old one alone; what the patch does not touch is shared between the two.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

MAX_OPERATIONS = 10_000  # upstream's limit


class PatchError(ValueError):
    """A patch that cannot be read (400), or does not apply to this object (422); the text says why."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class TestFailed(PatchError):
    """A value is another than the patch says: whoever wrote it meant that it shall do nothing then."""

    __test__ = False  # no test of pytest's


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


class _BadStep(Exception):
    """A step of a path that leads nowhere; the text is upstream's library's."""


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

    def container(self, path: str) -> tuple[Any, str]:
        """The container of a path's last step, free to be changed, and that step. Raises _BadStep."""
        parts = path.split("/")
        if len(parts) < 2 or not isinstance(self.root, dict | list):
            raise _BadStep(_MISSING)
        *above, last = [step.replace("~1", "/").replace("~0", "~") for step in parts[1:]]
        self.root = container = self._own(self.root)
        for step in above:
            try:
                below = _get(container, step)
            except _BadStep:
                below = None
            if not isinstance(below, dict | list):
                raise _BadStep(_MISSING)
            below = self._own(below)
            container[_index(container, step) if isinstance(container, list) else step] = below
            container = below
        return container, last

    def share(self) -> None:
        """A value stands in two places now: a later change of one must not show in the other."""
        self._mine.clear()


_MISSING = "missing value"


def _get(container: Any, step: str) -> Any:
    """What is at a step; a key that is not there counts as null to upstream's library."""
    return container[_index(container, step)] if isinstance(container, list) else container.get(step)


def _insert(container: Any, step: str, value: Any) -> None:
    if isinstance(container, dict):
        container[step] = value
    elif step == "-":
        container.append(value)
    else:
        container.insert(_index(container, step, end=1), value)


def _remove_at(container: Any, step: str) -> None:
    if isinstance(container, list):
        del container[_index(container, step)]
    elif step in container:
        del container[step]
    else:
        raise _BadStep(f"Unable to remove nonexistent key: {step}: {_MISSING}")


def _index(container: list[Any], step: str, *, end: int = 0) -> int:
    """An index as the API's patches allow it: also from the end, as upstream's library does."""
    try:
        index = int(step)
    except ValueError:
        if end:
            raise _BadStep(f"value was not a proper array index: '{step}': {_not_a_number(step)}") from None
        raise _BadStep(_not_a_number(step)) from None
    size = len(container) + end
    if not -size <= index < size:
        raise _BadStep(f"Unable to access invalid index: {index}: invalid index referenced")
    return index + size if index < 0 else index


def _not_a_number(step: str) -> str:
    return f'strconv.Atoi: parsing "{step}": invalid syntax'


@contextmanager
def _telling(text: str) -> Iterator[None]:
    try:
        yield
    except _BadStep as error:
        raise PatchError(422, f"{text}: {error}") from None


def _text(operation: Mapping[str, Any], name: str) -> str:
    value = operation.get(name)
    if not isinstance(value, str):
        raise PatchError(422, f"{operation.get('op')} operation failed to decode {name}: {_MISSING}")
    return value


def _add(document: _Document, operation: Mapping[str, Any]) -> None:
    path = _text(operation, "path")
    with _telling(f'add operation does not apply: doc is missing path: "{path}"'):
        container, step = document.container(path)
    with _telling(f"error in add for path: '{path}'"):
        _insert(container, step, operation.get("value"))


def _remove(document: _Document, operation: Mapping[str, Any]) -> None:
    path = _text(operation, "path")
    with _telling(f'remove operation does not apply: doc is missing path: "{path}"'):
        container, step = document.container(path)
    with _telling(f"error in remove for path: '{path}'"):
        _remove_at(container, step)


def _replace(document: _Document, operation: Mapping[str, Any]) -> None:
    path, value = _text(operation, "path"), operation.get("value")
    if not path:
        document.root = value
        return
    with _telling(f"replace operation does not apply: doc is missing path: {path}"):
        container, step = document.container(path)
    try:
        container[_index(container, step) if isinstance(container, list) else step] = value
    except _BadStep:
        text = f"replace operation does not apply: doc is missing key: {path}: {_MISSING}"
        raise PatchError(422, text) from None


def _move(document: _Document, operation: Mapping[str, Any]) -> None:
    source = _text(operation, "from")
    with _telling(f"move operation does not apply: doc is missing from path: {source}"):
        container, step = document.container(source)
    with _telling(f"error in move for path: '{step}'"):
        value = _get(container, step)
        _remove_at(container, step)
    path = _text(operation, "path")
    with _telling(f"move operation does not apply: doc is missing destination path: {path}"):
        container, step = document.container(path)
    with _telling(f"error in move for path: '{path}'"):
        _insert(container, step, value)


def _copy(document: _Document, operation: Mapping[str, Any]) -> None:
    source = _text(operation, "from")
    with _telling(f"copy operation does not apply: doc is missing from path: {source}"):
        container, step = document.container(source)
    with _telling(f"error in copy for from: '{source}'"):
        value = _get(container, step)
    path = _text(operation, "path")
    with _telling(f"copy operation does not apply: doc is missing destination path: {path}"):
        container, step = document.container(path)
    with _telling("error while adding value during copy"):
        _insert(container, step, value)
    document.share()


def _test(document: _Document, operation: Mapping[str, Any]) -> None:
    path, found = _text(operation, "path"), document.root
    if path:
        with _telling(f"test operation does not apply: is missing path: {path}"):
            container, step = document.container(path)
        with _telling(f"error in test for path: '{path}'"):
            found = _get(container, step)
    if not _same(found, operation.get("value")):
        raise TestFailed(422, f"testing value {path} failed: test failed")


def _same(left: Any, right: Any) -> bool:
    """Equality as JSON has it: true is not 1."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_same(value, right[key]) for key, value in left.items())
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_same, left, right))
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)


_OPERATIONS = {"add": _add, "remove": _remove, "replace": _replace, "move": _move, "copy": _copy, "test": _test}
