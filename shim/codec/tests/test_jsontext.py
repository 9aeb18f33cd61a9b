from __future__ import annotations

import pytest

from shim.codec import jsontext


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (r'{"a":1,"b":{"a":2}}', []),
        (r'{"a":1,"a":2}', ["a"]),
        (r'{"a" :1,"a":2}', ["a"]),
        (r'{"a":1,"\u0061":2}', ["a"]),
        (r'{"a\\":1,"b":1,"b":2}', ["b"]),
        (r'{"a\u005c":1,"b":[{"c":1,"c":2}]}', ["b[0].c"]),
        (r'{"a":"\":","b":"\u0022:","c":"\\"}', []),
        (r'{"a":"\":","b":1,"b":"x\":"}', ["b"]),
        (r'{"a":123456789012345678901234567890,"a":1}', ["a"]),
        (r'{"a":"\ud800","a":1}', ["a"]),
    ],
)
def test_keys_that_stand_twice_are_found_however_they_are_spelled(text: str, found: list[str]) -> None:
    assert jsontext.duplicates(text) == jsontext.duplicates(text.encode()) == found
