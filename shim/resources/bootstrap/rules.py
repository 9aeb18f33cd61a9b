"""The grammar of the role files: how a line of text becomes a rule."""

from __future__ import annotations

from shim.api.meta import Object

_VERBS = {
    "read": ("get", "list", "watch"),
    "write": ("create", "delete", "deletecollection", "patch", "update"),
}


def rules(text: str) -> list[Object]:
    """One rule a line: ``verbs | groups | resources | names``, or ``verbs | paths`` for what is no resource."""
    return [_rule([part.split() for part in line.split("|")]) for line in text.strip().splitlines()]


def _rule(parts: list[list[str]]) -> Object:
    verbs = [verb for word in parts[0] for verb in _VERBS.get(word, (word,))]
    rule: Object = {"verbs": sorted(verbs) if len(parts[0]) > 1 else verbs}
    if len(parts) == 2:
        return {**rule, "nonResourceURLs": parts[1]}
    rule["apiGroups"] = ["" if group == "core" else group for group in parts[1]]
    rule["resources"] = parts[2]
    if len(parts) > 3:
        rule["resourceNames"] = parts[3]
    return rule
