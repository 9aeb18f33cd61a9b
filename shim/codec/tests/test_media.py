from __future__ import annotations

import pytest

from shim.codec import jsontext, media, yamltext
from shim.codec.definitions import load_schema

SCHEMA = load_schema()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{not json", "invalid character 'n' looking for beginning of object key string"),
        ('{"a":1,}', "invalid character '}' looking for beginning of object key string"),
        ("[1 2]", "invalid character '2' after array element"),
        ('{"a" 1}', "invalid character '1' after object key"),
        ('{"a":tru}', "invalid character '}' in literal true (expecting 'e')"),
        ('"a\n"', r"invalid character '\n' in string literal"),
        ('{"a":01}', "invalid character '1' after object key:value pair"),
        ('{"a":1.}', "invalid character '}' after decimal point in numeric literal"),
        ('{"a":"\\q"}', "invalid character 'q' in string escape code"),
        ("{'a':1}", r"invalid character '\'' looking for beginning of object key string"),
        ('{"a":1}"', "invalid character '\"' after top-level value"),
        ('{"a":', "unexpected end of JSON input"),
        ("", "unexpected end of JSON input"),
    ],
)
def test_what_is_not_json_is_refused_in_gos_words(text: str, message: str) -> None:
    with pytest.raises(jsontext.JSONError) as refused:
        jsontext.loads(text.encode())
    assert str(refused.value) == message


def test_duplicate_keys_are_found_with_their_paths() -> None:
    text = b'{"metadata":{"name":"a","name":"b","name":"c"},"data":{"a":"b","a":"c"},"l":[{"x":1,"x":2}]}'
    assert media.strict_errors(media.JSON, text) == [
        'duplicate field "metadata.name"',
        'duplicate field "data.a"',
        'duplicate field "l[0].x"',
    ]
    assert media.strict_errors(media.JSON, b'{"a":{"b":1},"b":1}') == []
    yaml = b"a: 1\nb:\n  c: 1\n  c: 2\n"
    assert media.strict_errors(media.YAML, yaml, ["x"])[1:] == ['unknown field "x"']
    [told] = media.strict_errors(media.YAML, yaml)
    assert told == 'yaml: unmarshal errors:\n  line 4: key "c" already set in map'
    assert yamltext.apart(told) == ['line 4: key "c" already set in map']


def test_complaints_stand_in_the_order_of_the_text_or_of_who_notices() -> None:
    text = b'{"spec":{"odd":1,"replicas":2,"replicas":3},"last":{}}'
    unknown = ["spec.odd", "last"]
    odd, twice, last = 'unknown field "spec.odd"', 'duplicate field "spec.replicas"', 'unknown field "last"'
    assert media.strict_errors(media.JSON, text, unknown) == [odd, twice, last]
    assert media.strict_errors(media.JSON, text, unknown, in_order=False) == [twice, odd, last]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", True),
        ("off", False),
        ("~", None),
        ("010", 8),
        ("0x1f", 31),
        ("1_000", 1000),
        ("1e3", 1000),
        (".5", 0.5),
        ("12:30:45", "12:30:45"),
        ("2020-01-01", "2020-01-01"),
        ("1.2.3", "1.2.3"),
        ('"yes"', "yes"),
        ("'1'", "1"),
        ("!!str 5", "5"),
    ],
)
def test_scalars_mean_what_upstreams_reader_takes_them_for(text: str, value: object) -> None:
    assert yamltext.loads(f"a: {text}") == {"a": value}


def test_keys_become_strings_and_merge_keys_merge() -> None:
    assert yamltext.loads("1: a\ntrue: b\n") == {"1": "a", "true": "b"}
    assert yamltext.loads("x: &x {p: 1, q: 1}\nz: {<<: *x, q: 2}\n")["z"] == {"p": 1, "q": 2}


def test_what_is_written_as_yaml_reads_back_the_same() -> None:
    given = {
        "a": ["yes", "y", "1", "0x1", "", "null", "12:30", "a: b", "- x", "l1\nl2", " s ", 1, 1.5, True, None],
        "y": {},
    }
    assert yamltext.loads(yamltext.dumps(given)) == given


def test_a_yaml_bomb_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(yamltext.YAMLError, match="excessive aliasing"):
        yamltext.loads("\n".join(lines))


@pytest.mark.parametrize(
    ("kind", "data", "message"),
    [
        (media.JSON, b"[]", "couldn't get version/kind; json parse error: json: cannot unmarshal array into Go value"),
        (media.JSON, b'{"kind":1}', "json: cannot unmarshal number into Go struct field .kind of type string"),
        (media.JSON, b'{"a":\x01}', r"invalid character '\x01' looking for beginning of value"),
        (media.JSON, '{"a":é}'.encode(), "invalid character 'Ã' looking for beginning of value"),
        (media.JSON, b'{"a":tru', "invalid character ' ' in literal true (expecting 'e')"),
        (media.JSON, b"[1.", "invalid character ' ' after decimal point in numeric literal"),
        (media.JSON, b'"a', "unexpected end of JSON input"),
        (media.YAML, b"a: b: c", "yaml: mapping values are not allowed in this context"),
        (media.YAML, b"\n\na: b: c", "yaml: line 3: mapping values are not allowed in this context"),
        (media.YAML, b"- a\nb: c\n", "yaml: line 1: did not find expected '-' indicator"),
        (media.YAML, b"a: &x b\nc: *y-1\n", "yaml: unknown anchor 'y-1' referenced"),
        (media.YAML, b"a: \x01\n", "yaml: control characters are not allowed"),
        (media.YAML, b"a: !!int x\n", "yaml: cannot decode !!str `x` as a !!int"),
        (media.PROTOBUF, b"{}", "expected prefix [107 56 115 0]"),
        (media.PROTOBUF, b"k8s\0\x0a\x20", "unexpected EOF"),
    ],
)
def test_bodies_that_cannot_be_read_say_why(kind: str, data: bytes, message: str) -> None:
    with pytest.raises(media.MediaError) as refused:
        media.decode(kind, data, SCHEMA)
    assert message in str(refused.value)


def test_a_body_is_quoted_as_upstream_does() -> None:
    assert media.summarize(b"{not json") == "{not json"
    assert media.summarize(b"") == "<empty>"
    assert media.summarize(b"{" + b"x" * 40) == "{" + "x" * 29 + " ..."
    assert media.summarize(b"x") == "78"


def test_objects_and_events_are_written_in_each_media_type() -> None:
    data = b'{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a"}}'
    assert media.encode(media.JSON, data, SCHEMA) is data
    assert media.encode(media.YAML, data, SCHEMA) == b"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n"
    assert media.encode_event(media.JSON, "ADDED", data, SCHEMA) == b'{"type":"ADDED","object":%b}\n' % data
    frame = media.encode_event(media.PROTOBUF, "ADDED", data, SCHEMA)
    assert int.from_bytes(frame[:4]) == len(frame) - 4
    type, obj = media.protobuf(SCHEMA).decode_event(frame[4:])
    assert (type, obj["metadata"]["name"]) == ("ADDED", "a")
    with pytest.raises(media.NoSuchForm):
        media.encode(media.PROTOBUF, {"kind": "Widget", "apiVersion": "example.com/v1"}, SCHEMA)
