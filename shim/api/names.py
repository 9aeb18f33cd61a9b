"""Which names, labels and keys the API accepts, and what it says of those it does not.

Every function takes a text and returns upstream's complaints about it; an empty list means that it is valid.
"""

from __future__ import annotations

import re

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_LABEL_UNDERSCORED = "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_UNDERSCORED = rf"{_LABEL_UNDERSCORED}(\.{_LABEL_UNDERSCORED})*"
_WILDCARD = rf"\*\.{_SUBDOMAIN}"
_LABEL_1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
_QUALIFIED = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LABEL_VALUE = f"({_QUALIFIED})?"
_ENV = "[-._a-zA-Z][-._a-zA-Z0-9]*"
_CONFIG_KEY = "[-._a-zA-Z0-9]+"
_PERCENT = "[0-9]+%"
_HTTP_HEADER = "[-A-Za-z0-9]+"
_C_IDENTIFIER = "[A-Za-z_][A-Za-z0-9_]*"

_MATCH = {
    pattern: re.compile(pattern).fullmatch
    for pattern in (
        _LABEL,
        _SUBDOMAIN,
        _UNDERSCORED,
        _WILDCARD,
        _LABEL_1035,
        _QUALIFIED,
        _LABEL_VALUE,
        _ENV,
        _CONFIG_KEY,
        _PERCENT,
        _HTTP_HEADER,
        _C_IDENTIFIER,
    )
}

SUBDOMAIN_MAX = 253
LABEL_MAX = 63


def too_long(limit: int, unit: str = "characters") -> str:
    """Upstream counts the parts of labels in bytes by now; all names are ASCII, so only the word differs."""
    return f"must be no more than {limit} {unit}"


def must_match(what: str, pattern: str, *examples: str) -> str:
    """Upstream's words for a text that a regular expression refused."""
    shown = " or ".join(f"'{example}', " for example in examples)
    return f"{what} ({'e.g. ' + shown if shown else ''}regex used for validation is '{pattern}')"


def in_range(value: int, low: int, high: int) -> list[str]:
    return [] if low <= value <= high else [f"must be between {low} and {high}, inclusive"]


def dns1123_label(value: str) -> list[str]:
    """Names of namespaces, pods' containers, volumes: one part of a domain name."""
    errors = [too_long(LABEL_MAX)] if len(value) > LABEL_MAX else []
    if not _MATCH[_LABEL](value):
        if _MATCH[_SUBDOMAIN](value):
            errors.append("must not contain dots")
        else:
            errors.append(
                must_match(
                    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
                    "and must start and end with an alphanumeric character",
                    _LABEL,
                    "my-name",
                    "123-abc",
                )
            )
    return errors


def dns1123_subdomain(value: str) -> list[str]:
    """Names of most objects."""
    return _subdomain(value, "characters")


def dns1123_subdomain_in_bytes(value: str) -> list[str]:
    """The same, for kinds whose names upstream checks by its declarative rules: those say bytes."""
    return _subdomain(value, "bytes")


def _subdomain(value: str, unit: str) -> list[str]:
    errors = [too_long(SUBDOMAIN_MAX, unit)] if len(value) > SUBDOMAIN_MAX else []
    if not _MATCH[_SUBDOMAIN](value):
        errors.append(
            must_match(
                "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
                "and must start and end with an alphanumeric character",
                _SUBDOMAIN,
                "example.com",
            )
        )
    return errors


def subdomain_with_underscores(value: str) -> list[str]:
    """Search domains, which resolvers take with underscores."""
    errors = [too_long(SUBDOMAIN_MAX)] if len(value) > SUBDOMAIN_MAX else []
    if not _MATCH[_UNDERSCORED](value):
        errors.append(
            must_match(
                "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', "
                "and must start and end with an alphanumeric character",
                _UNDERSCORED,
                "example.com",
            )
        )
    return errors


def wildcard_subdomain(value: str) -> list[str]:
    """``*.example.com``."""
    errors = [too_long(SUBDOMAIN_MAX)] if len(value) > SUBDOMAIN_MAX else []
    if not _MATCH[_WILDCARD](value):
        what = (
            "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist "
            "of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character"
        )
        errors.append(must_match(what, _WILDCARD, "*.example.com"))
    return errors


def dns1035_label(value: str) -> list[str]:
    """Names of Services."""
    errors = [too_long(LABEL_MAX)] if len(value) > LABEL_MAX else []
    if not _MATCH[_LABEL_1035](value):
        errors.append(
            must_match(
                "a DNS-1035 label must consist of lower case alphanumeric characters or '-', "
                "start with an alphabetic character, and end with an alphanumeric character",
                _LABEL_1035,
                "my-name",
                "abc-123",
            )
        )
    return errors


def label_key(value: str) -> list[str]:
    """``name`` or ``example.com/name``: label and annotation keys, finalizers, resource names, condition types."""
    what = (
        "must consist of alphanumeric characters, '-', '_' or '.', "
        "and must start and end with an alphanumeric character"
    )
    explanation = must_match(what, _QUALIFIED, "MyName", "my.name", "123-abc")
    prefix, slash, name = value.rpartition("/")
    errors: list[str] = []
    if "/" in prefix:
        return [
            f"a valid label key {explanation} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        ]
    if slash:
        if not prefix:
            errors.append("prefix part must be non-empty")
        else:
            errors += [f"prefix part {error}" for error in _subdomain(prefix, "bytes")]
    if not name:
        errors.append("name part must be non-empty")
    elif len(name) > LABEL_MAX:
        errors.append(f"name part {too_long(LABEL_MAX, 'bytes')}")
    if not _MATCH[_QUALIFIED](name):
        errors.append(f"name part {explanation}")
    return errors


qualified_name = label_key


def label_value(value: str) -> list[str]:
    errors = [too_long(LABEL_MAX, "bytes")] if len(value) > LABEL_MAX else []
    if not _MATCH[_LABEL_VALUE](value):
        errors.append(
            must_match(
                "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
                "and must start and end with an alphanumeric character",
                _LABEL_VALUE,
                "MyValue",
                "my_value",
                "12345",
            )
        )
    return errors


def port_name(value: str) -> list[str]:
    """IANA service names: names of container ports, and what a target port may say."""
    errors = [too_long(15)] if len(value) > 15 else []
    if not re.fullmatch("[-a-z0-9]+", value):
        errors.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search("[a-z]", value):
        errors.append("must contain at least one letter (a-z)")
    if "--" in value:
        errors.append("must not contain consecutive hyphens")
    if value.startswith("-") or value.endswith("-"):
        errors.append("must not begin or end with a hyphen")
    return errors


def port_number(value: int) -> list[str]:
    return in_range(value, 1, 65535)


def env_var_name(value: str) -> list[str]:
    """Environment variables as upstream checked them before v1.34, and still does where ``envFrom`` makes them."""
    errors = []
    if not _MATCH[_ENV](value):
        errors.append(
            must_match(
                "a valid environment variable name must consist of alphabetic characters, digits, '_', '-', or '.', "
                "and must not start with a digit",
                _ENV,
                "my.env-name",
                "MY_ENV.NAME",
                "MyEnvName1",
            )
        )
    return errors + _leads_out(value)


def relaxed_env_var_name(value: str) -> list[str]:
    """Environment variables as a pod may name them: printable ASCII without ``=``."""
    errors = [] if value else ["environment variable name must be non-empty"]
    if any(not " " <= char <= "~" or char == "=" for char in value):
        errors.append(
            "a valid environment variable name must consist only of printable ASCII characters other than '='"
        )
    return errors


def config_map_key(value: str) -> list[str]:
    """Keys of ConfigMaps and Secrets: they become file names."""
    errors = [too_long(SUBDOMAIN_MAX)] if len(value) > SUBDOMAIN_MAX else []
    if not _MATCH[_CONFIG_KEY](value):
        errors.append(
            must_match(
                "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
                _CONFIG_KEY,
                "key.name",
                "KEY_NAME",
                "key-name",
            )
        )
    return errors + _leads_out(value)


def percent(value: str) -> list[str]:
    if _MATCH[_PERCENT](value):
        return []
    return [
        must_match("a valid percent string must be a numeric string followed by an ending '%'", _PERCENT, "1%", "93%")
    ]


def http_header_name(value: str) -> list[str]:
    if _MATCH[_HTTP_HEADER](value):
        return []
    return [
        must_match("a valid HTTP header must consist of alphanumeric characters or '-'", _HTTP_HEADER, "X-Header-Name")
    ]


def c_identifier(value: str) -> list[str]:
    if _MATCH[_C_IDENTIFIER](value):
        return []
    return [
        must_match(
            "a valid C identifier must start with alphabetic character or '_', followed by a string of "
            "alphanumeric characters or '_'",
            _C_IDENTIFIER,
            "my_name",
            "MY_NAME",
            "MyName",
        )
    ]


def _leads_out(value: str) -> list[str]:
    """A file name must not leave its directory."""
    if value in (".", ".."):
        return [f"must not be '{value}'"]
    return ["must not start with '..'"] if value.startswith("..") else []


def mask_trailing_dash(prefix: str) -> str:
    """A ``generateName`` may end in a dash: what is appended makes it a valid name."""
    return prefix[:-2] + "a" if len(prefix) > 1 and prefix.endswith("-") else prefix
