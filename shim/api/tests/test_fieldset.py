from __future__ import annotations

from random import Random

from shim.api.fieldset import FieldSet, less, more

ELEMENTS = ("f:a", "f:b", "i:1", 'k:{"name":"c"}', 'v:"x"')


def some(random: Random, depth: int = 3) -> FieldSet:
    found = FieldSet(element for element in ELEMENTS if random.random() < 0.4)
    if depth:
        for element in ELEMENTS:
            if random.random() < 0.4 and (below := some(random, depth - 1)):
                found.children[element] = below
    return found


def test_what_is_written_is_added_to_and_taken_from_as_the_set_would_be() -> None:
    random = Random(3)
    for _ in range(300):
        one, other = some(random), some(random)
        written = one.to_fields()
        assert FieldSet.from_fields(written) == one
        for found, wanted in ((less(written, other), one - other), (more(written, other), other | one)):
            assert found == wanted.to_fields()
            assert str(found) == str(wanted.to_fields())  # in the same order
        assert written == one.to_fields()


def test_an_item_is_the_same_however_its_key_is_spelled() -> None:
    written = {"f:ports": {'k:{"protocol": "TCP", "port": 80}': {"f:name": {}}}}
    port = 'k:{"port":80,"protocol":"TCP"}'
    assert less(written, FieldSet(children={"f:ports": FieldSet(children={port: FieldSet(["f:name"])})})) == {}
    added = more(written, FieldSet(children={"f:ports": FieldSet([port])}))
    assert added == {"f:ports": {port: {".": {}, "f:name": {}}}}
