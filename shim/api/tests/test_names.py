from __future__ import annotations

from collections.abc import Callable

import pytest

from shim.api import names


@pytest.mark.parametrize(
    ("check", "valid", "wrong"),
    [
        (names.dns1123_label, ["a", "a-1", "1a", "x" * 63], ["", "A", "-a", "a.b", "a_b", "x" * 64]),
        (names.dns1123_subdomain, ["a", "a.b-c.1"], ["", "a..b", ".a", "A.b", "a" * 254]),
        (names.dns1035_label, ["a", "a-1"], ["1a", "", "a.b"]),
        (names.label_key, ["a", "A_b.c", "example.com/a"], ["", "/a", "a/", "a/b/c", "Ex.com/a", "-a", "x" * 64]),
        (names.label_value, ["", "a", "A.b_c-1"], ["-a", "a b", "a@", "x" * 64]),
        (names.port_name, ["http", "a1"], ["", "80", "a--b", "-a", "HTTP", "x" * 16]),
        (names.env_var_name, ["A", "a.b-c"], ["1a", "", "a=b", ".."]),
        (names.relaxed_env_var_name, ["1a", "a b"], ["", "a=b", "é"]),
        (names.config_map_key, ["a", ".b", "a_B-1"], ["", ".", "..", "..a", "a/b"]),
        (names.percent, ["0%", "100%"], ["1", "%", "-1%"]),
        (names.http_header_name, ["X-A"], ["", "a:b"]),
        (names.c_identifier, ["_a1"], ["1a", ""]),
    ],
)
def test_names(check: Callable[[str], list[str]], valid: list[str], wrong: list[str]) -> None:
    assert [name for name in valid if check(name)] == []
    assert [name for name in wrong if not check(name)] == []


def test_complaints_are_upstreams_words() -> None:
    assert names.dns1123_label("a.b") == ["must not contain dots"]
    assert names.dns1123_label("A") == [
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
        "with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
        "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
    ]
    assert names.port_number(0) == ["must be between 1 and 65535, inclusive"]
    assert names.label_value("x" * 64) == ["must be no more than 63 bytes"]


def test_a_generated_names_prefix_may_end_in_a_dash() -> None:
    assert names.dns1123_label(names.mask_trailing_dash("web-")) == []
