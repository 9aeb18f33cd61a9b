"""What differs between two values, what two make together, and what is left of one: by field and item, as owned."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from shim.api import fieldset
from shim.api.fieldset import FieldSet, Path
from shim.api.schema import Type
from shim.api.structured import ABSENT, InvalidValue, by_element, child, is_list, is_map, item_element, items_type


@dataclass(slots=True)
class Comparison:
    """How a value differs from an older one."""

    removed: FieldSet = field(default_factory=FieldSet)
    modified: FieldSet = field(default_factory=FieldSet)
    added: FieldSet = field(default_factory=FieldSet)
    strict: bool = field(default=False, kw_only=True)
    """Whether items that nothing names are refused, and not left out."""

    def __bool__(self) -> bool:
        return bool(self.removed or self.modified or self.added)

    def without(self, ignored: Iterable[str]) -> Comparison:
        """Without these fields of the object (``status``, ``metadata.labels``) and all below them."""
        comparison = self
        for name in ignored:
            path = fieldset.dotted(name)
            sets = (comparison.removed, comparison.modified, comparison.added)
            comparison = Comparison(*(each.without(path) for each in sets))
        return comparison


def compare(type: Type, old: Any, new: Any, *, strict: bool = False) -> Comparison:
    """What ``new`` removed, modified and added. What is equal costs no more than Python's ``==``.

    If ``strict``, raises InvalidValue where an item of ``new`` has nothing that names it.
    """
    comparison = Comparison(strict=strict)
    _compare(type, old, new, (), comparison)
    return comparison


def _compare(type: Type, old: Any, new: Any, path: Path, comparison: Comparison) -> None:
    if old is ABSENT:
        comparison.added.insert(path, _everything(type, new, comparison.strict))
    elif new is ABSENT:
        comparison.removed.insert(path, _everything(type, old))
    elif _equal(old, new):
        return
    elif not (old or new):
        comparison.modified.insert(path)
    elif not _alike(old, new):  # where the schema says nothing, a value may become one of another type
        comparison.modified.insert(path)
        for value, below in ((old, comparison.removed), (new, comparison.added)):
            if is_map(type, value):
                for name, item in value.items():
                    below.insert((*path, fieldset.field(name)), _everything(child(type, name), item))
    elif is_map(type, new if new is not None else old):
        before, after = old or {}, new or {}
        for name in {**before, **after}:
            older, newer = before.get(name, ABSENT), after.get(name, ABSENT)
            if older is not newer:
                _compare(child(type, name), older, newer, (*path, fieldset.field(name)), comparison)
    elif is_list(type, new if new is not None else old):
        _compare_items(type, old or [], new or [], path, comparison)
    else:
        comparison.modified.insert(path)


def _everything(type: Type, value: Any, strict: bool = False) -> FieldSet:
    """Every field and item below a value that came or went as a whole."""
    found = FieldSet()
    if is_map(type, value):
        for name, item in (value or {}).items():
            element = fieldset.field(name)
            found.members.add(element)
            if isinstance(item, dict | list) and (below := _everything(child(type, name), item, strict)):
                found.children[element] = below
    elif is_list(type, value):
        for element, items in by_element(type, value, strict=strict).items():
            found.members.add(element)
            if len(items) == 1 and (below := _everything(items_type(type), items[0], strict)):
                found.children[element] = below
    return found


def _compare_items(type: Type, old: Any, new: Any, path: Path, comparison: Comparison) -> None:
    before, after = by_element(type, old), by_element(type, new, strict=comparison.strict)
    for element in {**before, **after}:
        left, right = before.get(element, []), after.get(element, [])
        below = (*path, element)
        if len(left) <= 1 and len(right) <= 1:
            older, newer = left[0] if left else ABSENT, right[0] if right else ABSENT
            _compare(items_type(type), older, newer, below, comparison)
        elif len(left) > 1 and len(right) > 1:
            if not _equal(left, right):
                comparison.modified.insert(below)
        elif len(left) > 1:  # no longer duplicates: what is left is owned field by field again
            if right:
                _compare(items_type(type), ABSENT, right[0], below, comparison)
            comparison.removed.insert(below)
        else:  # duplicates from now on, which are owned as one
            if left:
                _compare(items_type(type), left[0], ABSENT, below, comparison)
            comparison.added.insert(below)


def _alike(old: Any, new: Any) -> bool:
    return old is None or new is None or isinstance(old, dict) == isinstance(new, dict)


def _equal(old: Any, new: Any) -> bool:
    """Equality as JSON has it; Python alone would take true for 1."""
    return bool(old == new) and (isinstance(old, bool) == isinstance(new, bool) or isinstance(old, dict | list))


# --- two together, and what is left ----------------------------------------------------------------------------------


def merge(type: Type, live: Any, applied: Any) -> Any:
    """``live`` with everything that ``applied`` sets. Neither is changed; what is the same is shared."""
    if live is ABSENT or applied is ABSENT:
        return applied if live is ABSENT else live
    if is_map(type, applied) and is_map(type, live) and (live or applied):
        if applied is None:
            return live
        merged = dict(live or {})
        for name, item in applied.items():
            merged[name] = merge(child(type, name), merged.get(name, ABSENT), item)
        return merged
    if is_list(type, applied) and is_list(type, live) and (live or applied):
        return _merge_items(type, live or [], applied or [])
    return applied


def _merge_items(type: Type, live: list[Any], applied: list[Any]) -> list[Any]:
    """The order is the applied list's; what only the live one has stays between its neighbours."""
    right = by_element(type, applied)
    left = by_element(type, live)
    names = [item_element(type, item) for item in applied]
    shared = [name for name in names if name in left]
    merged: list[Any] = []
    done: set[str] = set()
    at = 0

    def take(name: str) -> None:
        older = left[name][0] if len(left.get(name, ())) == 1 else ABSENT
        merged.append(merge(items_type(type), older, right[name][0]))
        done.add(name)

    for item in live:
        try:
            name = item_element(type, item)
        except InvalidValue:
            merged.append(item)
            continue
        if name not in right:
            merged.append(item)
            continue
        if name in done or (shared and shared[0] != name):
            continue  # it is put where the applied list has it
        while at < len(names):
            current = names[at]
            at += 1
            take(current)
            if shared and shared[0] == current:
                shared.pop(0)
            if current == name:
                break
    for name in names[at:]:
        take(name)
    return merged


def remove(type: Type, value: Any, gone: FieldSet) -> Any:
    """The value without the members of a set. None when nothing is left of it."""
    if isinstance(value, dict):
        if not is_map(type, value):
            return None
        kept: dict[str, Any] = {}
        touched = _each(
            [(fieldset.field(name), name, item) for name, item in value.items()],
            gone,
            lambda name: child(type, name),
            kept.__setitem__,
        )
        return kept if kept or touched else None
    if isinstance(value, list):
        if not is_list(type, value):
            return None
        items: list[Any] = []
        named = []
        for item in value:
            try:
                named.append((item_element(type, item), "", item))
            except InvalidValue:
                named.append(("", "", item))
        touched = _each(named, gone, lambda _: items_type(type), lambda _, item: items.append(item))
        return items if items or touched else None
    return value


def _each(
    parts: list[tuple[str, str, Any]],
    gone: FieldSet,
    type_of: Callable[[str], Type],
    keep: Callable[[str, Any], None],
) -> bool:
    """Keep what is not gone; returns whether something below a part was removed."""
    touched = False
    for element, name, item in parts:
        if element in gone.members:
            continue
        below = gone.children.get(element)
        if below:
            touched = True
            rest = remove(type_of(name), item, below)
            item = type(item)() if rest is None and isinstance(item, dict | list) else rest
        keep(name, item)
    return touched
