"""What is a URL, and what are its parts: as Go's net/url has it, from which these rows were taken."""

from __future__ import annotations

import pytest

from shim.cel.urls import parse_url
from shim.cel.values import CelError


@pytest.mark.parametrize(
    ("text", "scheme", "hostname", "port", "path", "values"),
    [
        ("http://", "http", "", "", "", {}),
        ("mailto:a@b", "mailto", "", "", "", {}),
        ("urn:isbn:123?x=1", "urn", "", "", "", {"x": ["1"]}),
        ("*", "", "", "", "*", {}),
        ("/p?x=1&x=&y=a+b#f", "", "", "", "/p", {"x": ["1", ""], "y": ["a b"]}),
        ("//host/p", "", "host", "", "/p", {}),
        ("HTTP://A.B:/C", "http", "A.B", "", "/C", {}),
        ("http://user:pw@h:1/p", "http", "h", "1", "/p", {}),
        ("http://[fe80::1%25eth0]:80/", "http", "fe80::1%eth0", "80", "/", {}),
        ("http://a:80:90/", "http", "a:80", "90", "/", {}),
        ("http://a/%2f!(1)", "http", "a", "", "/%2f!(1)", {}),
        ("http://a/%e9 (1)\\", "http", "a", "", "/%E9%20%281%29%5C", {}),
        ("http://%C3%A9/é", "http", "é", "", "/%C3%A9", {}),
        ("http://a/?a;b=1&x=%zz&c", "http", "a", "", "/", {"c": [""]}),
    ],
)
def test_parts(text: str, scheme: str, hostname: str, port: str, path: str, values: dict[str, list[str]]) -> None:
    url = parse_url(text)
    assert (url.scheme, url.hostname(), url.port()) == (scheme, hostname, port)
    assert (url.escaped_path(), url.values()) == (path, values)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty url"),
        ("x", "invalid URI for request"),
        ("#", "invalid URI for request"),
        ("1x:y", "invalid URI for request"),
        (":x", "missing protocol scheme"),
        ("a://b:x", 'invalid port ":x" after host'),
        ("http://[::1", "missing ']' in host"),
        ("http://a b", 'invalid character " " in host name'),
        ("http://a#f", 'invalid character "#" in host name'),
        ("http://%41", 'invalid URL escape "%41"'),
        ("http://a/%41%zz", 'invalid URL escape "%zz"'),
        ("http://[fe80::1%eth0]/", 'invalid URL escape "%et"'),
        ("http://us er@h/p", "net/url: invalid userinfo"),
        ("/a\nb", "net/url: invalid control character in URL"),
    ],
)
def test_what_is_none(text: str, why: str) -> None:
    with pytest.raises(CelError) as caught:
        parse_url(text)
    assert str(caught.value).startswith("URL parse error during conversion from string: parse ")
    assert str(caught.value).endswith(f": {why}")
