"""Which names a definition may have: those that no other definition of its group has, first come first served.

What its status tells beside them: whether it is served, and where its group needs one, of its approval.
"""

from __future__ import annotations

import copy

from shim.api import conditions
from shim.api.meta import Object
from shim.resources.custom.approval import CONDITION, approval_of

_ESTABLISHED = ("Established", "True", "InitialNamesAccepted", "the initial names have been accepted")


def accept_names(crd: Object, others: list[Object]) -> Object | None:
    """The names and conditions a definition's status shall have; None where it has them."""
    resources, kinds = _taken(others)
    spec, status = crd["spec"], crd.get("status") or {}
    wanted, accepted = spec["names"], status.get("acceptedNames") or {}
    names: Object = {**accepted}
    problem: tuple[str, str] | None = None

    def claim(field: str, taken: set[str], reason: str) -> None:
        nonlocal problem
        name = wanted.get(field) or ""
        if name != accepted.get(field) and name in taken:
            problem = (reason, f'"{name}" is already in use')
        elif name:
            names[field] = name

    claim("plural", resources, "PluralConflict")
    claim("singular", resources, "SingularConflict")
    short = wanted.get("shortNames") or []
    clashes = [f'"{name}" is already in use' for name in short if name in resources and not _has(accepted, name)]
    if clashes:
        text = clashes[0] if len(clashes) == 1 else f"[{', '.join(clashes)}]"
        problem = ("ShortNamesConflict", text)
    else:
        _set(names, "shortNames", short)
    claim("kind", kinds, "KindConflict")
    claim("listKind", kinds, "ListKindConflict")
    _set(names, "categories", wanted.get("categories") or [])

    told = copy.deepcopy(status.get("conditions") or [])
    if problem is None:
        conditions.set_condition(told, "NamesAccepted", "True", "NoConflicts", "no conflicts found")
        if not conditions.is_true(crd, "Established"):
            conditions.set_condition(told, *_ESTABLISHED)
    else:
        conditions.set_condition(told, "NamesAccepted", "False", *problem)
        if conditions.find(crd, "Established") is None:
            conditions.set_condition(told, "Established", "False", "NotAccepted", "not all names are accepted")
    if (approval := approval_of(crd)) is not None:
        conditions.set_condition(told, CONDITION, approval.status, approval.reason, approval.message)
    new = {"acceptedNames": names, "conditions": told}
    same = names == accepted and told == (status.get("conditions") or [])
    return None if same else new


def _has(accepted: Object, name: str) -> bool:
    return name in (accepted.get("shortNames") or ())


def _set(names: Object, field: str, values: list[str]) -> None:
    if values:
        names[field] = values
    else:
        names.pop(field, None)


def _taken(others: list[Object]) -> tuple[set[str], set[str]]:
    resources: set[str] = set()
    kinds: set[str] = set()
    for other in others:
        accepted = (other.get("status") or {}).get("acceptedNames") or {}
        resources.update(name for name in (accepted.get("plural"), accepted.get("singular")) if name)
        resources.update(accepted.get("shortNames") or ())
        kinds.update(name for name in (accepted.get("kind"), accepted.get("listKind")) if name)
    return resources, kinds
