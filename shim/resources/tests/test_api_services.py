"""Every group and version has its place in discovery, and an APIService that says so."""

from __future__ import annotations

from shim.resources.bootstrap import api_services
from shim.resources.table import RESOURCES


def test_every_built_in_version_has_a_place_of_its_own() -> None:
    served = {(row.group, row.version) for row in RESOURCES} - {api_services.OWN_GROUP}
    kept = {(group, version) for group, (_, versions) in api_services.PRIORITIES.items() for version in versions}
    assert served == kept


def test_our_own_registry_comes_first_and_custom_resources_late() -> None:
    places = [api_services.place(row.group, row.version) for row in RESOURCES]
    assert max(places) == api_services.place(*api_services.OWN_GROUP)
    assert min(places) > api_services.place("example.com", "v1")


def test_labels_say_who_keeps_them() -> None:
    [custom] = api_services.of_custom_resources([("example.com", "v1"), ("example.com", "v1")])
    assert custom["metadata"] == {"name": "v1.example.com", "labels": {api_services.KEPT: "true"}}
    assert {each["metadata"]["labels"][api_services.KEPT] for each in api_services.built_in()} == {"onstart"}
    assert "labels" not in api_services.of_metrics()["metadata"], "whoever installs a metrics server may have it"
