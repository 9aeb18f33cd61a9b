from __future__ import annotations

import pytest

from shim.api import selectors
from shim.api.selectors import SelectorError


@pytest.mark.parametrize(
    ("text", "labels", "matches"),
    [
        ("", {}, True),
        ("a=b", {"a": "b"}, True),
        ("a==b", {"a": "c"}, False),
        ("a!=b", {}, True),
        ("a", {"a": ""}, True),
        ("!a", {"a": ""}, False),
        ("a in (x, y),b notin (z)", {"a": "y"}, True),
        ("a in (x,y)", {"a": "z"}, False),
        ("a in (,)", {"a": ""}, True),
        ("in in (in)", {"in": "in"}, True),
        ("g>1,g<3", {"g": "2"}, True),
        ("g>1", {"g": "x"}, False),
        ("a=,b", {"a": "", "b": "1"}, True),
        ("example.com/a = b", {"example.com/a": "b"}, True),
    ],
)
def test_the_string_form_matches_as_upstream_documents(text: str, labels: dict[str, str], matches: bool) -> None:
    assert selectors.parse(text).matches(labels) is matches


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a==b=", "found '=', expected: ',' or 'end of string'"),
        ("a=b,", "found '', expected: identifier after ','"),
        ("a=b@", 'values[0][a]: Invalid value: "b@": a valid label must be an empty string'),
        ("a/b/c=d", '<nil>: Invalid value: "a/b/c": a valid label key must consist'),
        ("a in x", "found 'x' expected: '('"),
        ("a in (x", "found '', expected: ',' or ')'"),
        ("a>x", "the value must be an integer"),
        ("(", "found '(', expected: !, identifier, or 'end of string'"),
        ("==a", "found '==', expected: !, identifier, or 'end of string'"),
        ("a===b", "unable to parse requirement: found '=', expected: identifier"),
    ],
)
def test_what_cannot_be_understood_is_refused_in_upstreams_words(text: str, message: str) -> None:
    with pytest.raises(SelectorError) as refused:
        selectors.parse(text)
    assert message in str(refused.value)


def test_a_selector_prints_as_it_would_be_written() -> None:
    text = "a=b,c in (x,y),!d,e!=f,g>1,h"
    assert str(selectors.parse(text)) == "a=b,c in (x,y),!d,e!=f,g>1,h"
    assert selectors.parse("x in (one)").exact("x") == "one"


def test_the_object_form_selects_nothing_when_absent_and_everything_when_empty() -> None:
    assert not selectors.from_object(None).matches({})
    assert selectors.from_object({}).matches({"any": "thing"})
    selector = selectors.from_object(
        {"matchLabels": {"app": "web"}, "matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["db"]}]}
    )
    assert selector.matches({"app": "web"})
    assert not selector.matches({"app": "web", "tier": "db"})
    with pytest.raises(SelectorError, match='"Like" is not a valid label selector operator'):
        selectors.from_object({"matchExpressions": [{"key": "a", "operator": "Like"}]})


def test_field_selectors_compare_and_treat_a_missing_field_as_empty() -> None:
    selector = selectors.parse_fields(r"status.phase!=Running,metadata.name=a\,b\=c")
    assert [str(term) for term in selector.requirements] == ["metadata.name=a,b=c", "status.phase!=Running"]
    assert selector.matches({"metadata.name": "a,b=c"})
    assert selectors.parse_fields("spec.nodeName=").matches({})
    assert selector.exact("metadata.name") == "a,b=c"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nonsense", "invalid selector: 'nonsense'; can't understand 'nonsense'"),
        (r"a=\x", r"invalid field selector: invalid escape sequence: \x"),
        ("a=b=c", "invalid field selector: unescaped character in value: 61"),
    ],
)
def test_a_wrong_field_selector_is_refused(text: str, message: str) -> None:
    with pytest.raises(SelectorError) as refused:
        selectors.parse_fields(text)
    assert str(refused.value) == message
