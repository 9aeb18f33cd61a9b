"""Is a schema structural? Its structure stands outside of conditions, and every place of it has a type.

https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema
has the rules; ``allOf``, ``anyOf``, ``oneOf`` and ``not`` hold the conditions, which may only ask for values.
"""

from __future__ import annotations

from shim.api.status import FieldError
from shim.cel.patterns import PatternError, pattern
from shim.resources.causes import forbidden, invalid, required
from shim.resources.custom.structure import Node

_STRUCTURAL_ONLY = {  # what conditions may not say
    "type": "must be empty to be structural",
    "additionalProperties": "must be undefined to be structural",
    "default": "must be undefined to be structural",
    "title": "must be empty to be structural",
    "description": "must be empty to be structural",
    "nullable": "must be false to be structural",
    "x-kubernetes-preserve-unknown-fields": "must be false to be structural",
    "x-kubernetes-embedded-resource": "must be false to be structural",
    "x-kubernetes-int-or-string": "must be false to be structural",
    "x-kubernetes-list-map-keys": "must be empty to be structural",
    "x-kubernetes-list-type": "must be undefined to be structural",
    "x-kubernetes-map-type": "must be undefined to be structural",
    "x-kubernetes-validations": "must be empty to be structural",
}
_INT_OR_STRING = [{"type": "integer"}, {"type": "string"}]
_UNTYPED = {
    "root": "must not be empty at the root",
    "item": "must not be empty for specified array items",
    "field": "must not be empty for specified object fields",
}


def check_structure(node: Node, path: str, level: str) -> list[FieldError]:
    """``level``: whether the place is the ``root``, an ``item`` of a list or a ``field``."""
    found: list[FieldError] = []
    if node.type == "array" and node.items is None:
        found.append(required(f"{path}.items", "must be specified"))
    if node.items is not None:
        found += check_structure(node.items, f"{path}.items", "item")
    for name, each in node.properties.items():
        found += check_structure(each, f"{path}.properties[{name}]", "field")
    if node.additional_set:
        if level == "root":
            found.append(forbidden(f"{path}.additionalProperties", "must not be used at the root"))
        if node.additional is not None:
            found += check_structure(node.additional, f"{path}.additionalProperties", "field")
    if node.int_or_string:
        for name, set_ in (("preserve-unknown-fields", node.preserve), ("embedded-resource", node.embedded)):
            if set_:
                text = "must be false if x-kubernetes-int-or-string is true"
                found.append(invalid(f"{path}.x-kubernetes-{name}", True, text))
    found += _conditions(node, path, node.int_or_string)
    found += _complete(node, node, path)
    if node.embedded and node.type != "object":
        text = "must be object if x-kubernetes-embedded-resource is true"
        found.append(invalid(f"{path}.type", node.type, text) if node.type else required(f"{path}.type", text))
    elif not node.type and not node.int_or_string and not node.preserve:
        found.append(required(f"{path}.type", _UNTYPED[level]))
    if node.embedded and node.additional_set:
        text = "must not be used if x-kubernetes-embedded-resource is set"
        found.append(forbidden(f"{path}.additionalProperties", text))
    if level == "root" and node.type and node.type != "object":
        found.append(invalid(f"{path}.type", node.type, "must be object at the root"))
    if level == "root" or node.embedded:
        found += _meta(node, path, level)
    if node.embedded and not node.preserve and not node.properties:
        text = (
            "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields"
        )
        found.append(required(f"{path}.properties", text))
    return found


def _meta(node: Node, path: str, level: str) -> list[FieldError]:
    found = []
    for name in ("kind", "apiVersion"):
        below = node.properties.get(name)
        if below is not None and below.type != "string":
            found.append(invalid(f"{path}.properties[{name}].type", below.type, "must be string"))
    below = node.properties.get("metadata")
    if below is None:
        return found
    at = f"{path}.properties[metadata]"
    if below.type != "object":
        found.append(invalid(f"{at}.type", below.type, "must be object"))
    extra = {name for name, value in below.raw.items() if value} - {"type", "default", "description", "properties"}
    if level == "root" and (extra or below.raw.get("description") or set(below.properties) - {"name", "generateName"}):
        text = "must not specify anything other than name and generateName, but metadata is implicitly specified"
        found.append(forbidden(at, text))
    return found


def _conditions(node: Node, path: str, int_or_string: bool) -> list[FieldError]:
    raw = node.raw
    found: list[FieldError] = []
    plain = int_or_string and raw.get("anyOf") == _INT_OR_STRING
    for name, conditions in (("anyOf", () if plain else node.any_of), ("allOf", node.all_of), ("oneOf", node.one_of)):
        for index, each in enumerate(conditions):
            first = name == "allOf" and not index and int_or_string
            found += _nested(each, f"{path}.{name}[{index}]", first)
    if node.not_ is not None:
        found += _nested(node.not_, f"{path}.not", False)
    if expression := raw.get("pattern"):
        try:
            pattern(expression)
        except PatternError as error:
            text = f"must be a valid regular expression, but isn't: {error}"
            found.append(invalid(f"{path}.pattern", expression, text))
    return found


def _nested(node: Node, path: str, int_or_string: bool) -> list[FieldError]:
    """A condition: it may ask for values, and say nothing of structure."""
    found = _conditions(node, path, int_or_string)
    if node.items is not None:
        found += _nested(node.items, f"{path}.items", False)
    for name, each in node.properties.items():
        found += _nested(each, f"{path}.properties[{name}]", False)
    for name, text in _STRUCTURAL_ONLY.items():
        if node.raw.get(name) not in (None, False, "", []):
            found.append(forbidden(f"{path}.{name}", text))
    if "metadata" in node.properties:
        found.append(forbidden(f"{path}.properties[metadata]", "must not be specified in a nested context"))
    return found


def _complete(spine: Node, node: Node, path: str) -> list[FieldError]:
    """What conditions name must stand outside of them too."""
    found: list[FieldError] = []
    conditions = [*node.any_of, *node.all_of, *node.one_of, *filter(None, (node.not_,))]
    for each in conditions:
        found += _known(spine, each, path)
    return found


def _known(spine: Node | None, condition: Node, path: str) -> list[FieldError]:
    if spine is None:
        return [required(path, "because it is defined in a nested condition")]
    found: list[FieldError] = []
    for name, each in condition.properties.items():
        below = spine.properties.get(name)
        at = f"{path}.properties[{name}]"
        if below is None:
            if not spine.preserve and spine.additional is None:
                found.append(required(at, f"because it is defined in {path}"))
            continue
        found += _known(below, each, at)
    if condition.items is not None:
        if spine.items is None:
            found.append(required(f"{path}.items", f"because it is defined in {path}"))
        else:
            found += _known(spine.items, condition.items, f"{path}.items")
    return found + _complete(spine, condition, path) if condition.all_of or condition.any_of else found
