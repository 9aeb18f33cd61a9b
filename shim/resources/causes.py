"""How a refused field is worded: one function per kind of complaint, as upstream's ``field`` package words them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from shim.api import names
from shim.api.meta import Object
from shim.api.status import FieldError

IMMUTABLE = "field is immutable"
NOT_NEGATIVE = "must be greater than or equal to 0"
NOT_AN_IP = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
NOT_A_CIDR = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"


def shown(value: Any) -> str:
    """A value as messages quote it: JSON without spaces, as Go prints it."""
    text = json.dumps(_counted_as_go(value), separators=(",", ":"), ensure_ascii=False)
    return text.translate(_FOR_PAGES) if isinstance(value, dict | list) else text


_FOR_PAGES = {ord(char): f"\\u{ord(char):04x}" for char in "<>&"}
"""What Go's JSON escapes lest it be read as HTML; it quotes a text that stands alone otherwise."""


def _counted_as_go(value: Any) -> Any:
    """Whole numbers have no decimal point there, whatever they are."""
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 1e21 else value
    if isinstance(value, dict):
        return {key: _counted_as_go(each) for key, each in value.items()}
    return [_counted_as_go(each) for each in value] if isinstance(value, list) else value


def as_go(value: Mapping[str, Any] | None, *fields: str) -> Object | None:
    """A struct as Go prints those that have no JSON names: each of its fields, in order, under Go's own name."""
    return None if value is None else {field[0].upper() + field[1:]: value.get(field) for field in fields}


def as_map(value: Mapping[str, str] | None) -> Object | None:
    """A map as Go prints it: sorted."""
    return None if value is None else dict(sorted(value.items()))


def as_selector(selector: Mapping[str, Any] | None) -> Object | None:
    """A ``metav1.LabelSelector`` as Go prints it."""
    if selector is None:
        return None
    printed: Object = {}
    if selector.get("matchLabels"):
        printed["matchLabels"] = as_map(selector["matchLabels"])
    if selector.get("matchExpressions"):
        printed["matchExpressions"] = [
            {
                "key": each.get("key") or "",
                "operator": each.get("operator") or "",
                **({"values": each["values"]} if each.get("values") else {}),
            }
            for each in selector["matchExpressions"]
        ]
    return printed


def _cause(reason: str, field: str, text: str, detail: str) -> FieldError:
    return FieldError(reason, field, f"{text}: {detail}" if detail else text)


def required(field: str, detail: str = "") -> FieldError:
    return _cause("FieldValueRequired", field, "Required value", detail)


def internal(field: str, why: str) -> FieldError:
    """A rule that came to nothing, which upstream tells as a complaint too."""
    return FieldError("InternalError", field, f"Internal error: {why}")


def invalid(field: str, value: Any, detail: str) -> FieldError:
    return _cause("FieldValueInvalid", field, f"Invalid value: {shown(value)}", detail)


def invalid_without_value(field: str, detail: str) -> FieldError:
    """For a value too large to be quoted."""
    return FieldError("FieldValueInvalid", field, f"Invalid value: {detail}")


def forbidden(field: str, detail: str) -> FieldError:
    return _cause("FieldValueForbidden", field, "Forbidden", detail)


def duplicate(field: str, value: Any) -> FieldError:
    return _cause("FieldValueDuplicate", field, f"Duplicate value: {shown(value)}", "")


def not_found(field: str, value: Any) -> FieldError:
    return _cause("FieldValueNotFound", field, f"Not found: {shown(value)}", "")


def unsupported(field: str, value: Any, supported: Iterable[str]) -> FieldError:
    detail = f"supported values: {', '.join(shown(text) for text in supported)}"
    return _cause("FieldValueNotSupported", field, f"Unsupported value: {shown(value)}", detail)


def too_long(field: str, limit: int) -> FieldError:
    return _cause("FieldValueTooLong", field, "Too long", f"may not be more than {_counted(limit, 'byte')}")


def too_many(field: str, count: int, limit: int) -> FieldError:
    return _cause("FieldValueTooMany", field, f"Too many: {count}", f"must have at most {_counted(limit, 'item')}")


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def named(field: str, value: str, rule: Callable[[str], list[str]]) -> list[FieldError]:
    """What ``rule`` (one of :mod:`shim.api.names`) has against ``value``."""
    return [invalid(field, value, message) for message in rule(value)]


def not_negative(field: str, value: int | None) -> list[FieldError]:
    return [invalid(field, value, NOT_NEGATIVE)] if value is not None and value < 0 else []


def one_of(field: str, value: Any, supported: tuple[str, ...]) -> list[FieldError]:
    return [] if value in supported else [unsupported(field, value, supported)]


def immutable(field: str, new: Any, old: Any) -> list[FieldError]:
    return [] if (new or None) == (old or None) else [invalid(field, new, IMMUTABLE)]


def labels(field: str, found: Mapping[str, str] | None) -> list[FieldError]:
    """A map of labels, or of what must look like labels."""
    causes: list[FieldError] = []
    for key, value in (found or {}).items():
        causes += named(field, key, names.label_key)
        causes += named(field, value, names.label_value)
    return causes


def label_selector(field: str, selector: Mapping[str, Any] | None) -> list[FieldError]:
    """A ``metav1.LabelSelector``."""
    if not selector:
        return []
    causes = labels(f"{field}.matchLabels", selector.get("matchLabels"))
    for index, expression in enumerate(selector.get("matchExpressions") or ()):
        causes += selector_requirement(f"{field}.matchExpressions[{index}]", expression)
    return causes


def selector_requirement(at: str, each: Mapping[str, Any], *, numbers: bool = False) -> list[FieldError]:
    """One expression of a selector; those of nodes compare numbers too."""
    operator, values = each.get("operator") or "", each.get("values") or ()
    causes: list[FieldError] = []
    if operator in ("In", "NotIn"):
        if not values:
            causes.append(required(f"{at}.values", "must be specified when `operator` is 'In' or 'NotIn'"))
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            text = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            causes.append(forbidden(f"{at}.values", text))
    elif numbers and operator in ("Gt", "Lt"):
        if len(values) != 1:
            text = "must be specified single value when `operator` is 'Lt' or 'Gt'"
            causes.append(required(f"{at}.values", text))
    else:
        causes.append(invalid(f"{at}.operator", operator, "not a valid selector operator"))
    causes += named(f"{at}.key", each.get("key") or "", names.label_key)
    for index, value in enumerate(values):
        causes += named(f"{at}.values[{index}]", value, names.label_value)
    return causes


_PATH = "[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+"  # of a URL


def domain_prefixed_path(field: str, value: str) -> list[FieldError]:
    """``example.com/foo``: who a controller is."""
    if not value:
        return [required(field)]
    host, _, path = value.partition("/")
    if not host or not path:
        return [invalid(field, value, 'must be a domain-prefixed path (such as "acme.io/foo")')]
    causes = named(field, host, names.dns1123_subdomain)
    if not re.fullmatch(_PATH, path):
        causes.append(invalid(field, path, names.must_match("Invalid path", _PATH)))
    return causes


_REASON = "[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?"
_LONGEST_REASON, _LONGEST_MESSAGE = 1024, 32 * 1024


def conditions(field: str, found: Iterable[Mapping[str, Any]]) -> list[FieldError]:
    """A list of ``metav1.Condition``."""
    causes: list[FieldError] = []
    seen: set[str] = set()
    for index, condition in enumerate(found):
        at, kind = f"{field}[{index}]", condition.get("type") or ""
        if kind in seen:
            causes.append(duplicate(f"{at}.type", kind))
        seen.add(kind)
        causes += named(f"{at}.type", kind, names.label_key)
        causes += one_of(f"{at}.status", condition.get("status") or "", ("False", "True", "Unknown"))
        if (condition.get("observedGeneration") or 0) < 0:
            text = "must be greater than or equal to zero"
            causes.append(invalid(f"{at}.observedGeneration", condition["observedGeneration"], text))
        if not condition.get("lastTransitionTime"):
            causes.append(required(f"{at}.lastTransitionTime"))
        causes += _reason(f"{at}.reason", condition.get("reason") or "")
        if len(condition.get("message") or "") > _LONGEST_MESSAGE:
            causes.append(too_long(f"{at}.message", _LONGEST_MESSAGE))
    return causes


def _reason(field: str, reason: str) -> list[FieldError]:
    if not reason:
        return [required(field)]
    causes: list[FieldError] = []
    if not re.fullmatch(_REASON, reason):
        what = (
            "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric "
            "characters or '_,:', and must end with an alphanumeric character or '_'"
        )
        examples = ("my_name", "MY_NAME", "MyName", "ReasonA,ReasonB", "ReasonA:ReasonB")
        causes.append(invalid(field, reason, names.must_match(what, _REASON, *examples)))
    if len(reason) > _LONGEST_REASON:
        causes.append(too_long(field, _LONGEST_REASON))
    return causes
