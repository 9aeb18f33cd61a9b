"""CustomResourceDefinitions as a kind: what is filled in, what may change, what is warned of, how they end."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from shim.resources.custom.definition import FINALIZER, DefinitionStrategy

STRATEGY = DefinitionStrategy()


def version(name: str = "v1", **more: Any) -> dict[str, Any]:
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object"}}}}
    return {"name": name, "served": True, "storage": name == "v1", "schema": schema, **more}


def crd(*versions: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """A definition as it is stored, established."""
    names = {"plural": "widgets", "kind": "Widget"}
    made: dict[str, Any] = {
        "metadata": {"name": "widgets.example.com", "uid": "u", "resourceVersion": "1"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": names,
            "versions": list(versions or [version()]),
            **spec,
        },
        "status": {"storedVersions": ["v1"], "conditions": [{"type": "Established", "status": "True"}]},
    }
    STRATEGY.default(made)
    return made


def complaints(new: dict[str, Any], old: dict[str, Any] | None = None) -> list[str]:
    causes = STRATEGY.validate(new) if old is None else STRATEGY.validate_update(new, old)
    return [f"{cause.field}: {cause.message}" for cause in causes]


def webhook(**client: Any) -> dict[str, Any]:
    """A conversion by a webhook that is called so."""
    return {"strategy": "Webhook", "webhook": {"clientConfig": client, "conversionReviewVersions": ["v1"]}}


def test_a_served_definition_gets_no_bundle_that_cannot_be_read() -> None:
    bad = crd(conversion=webhook(url="https://x/", caBundle="eHg="))
    [found] = complaints(bad, crd())
    assert found == (
        'spec.conversion.webhookClientConfig.caBundle: Invalid value: "eHg=": unable to load root certificates: '
        "unable to parse bytes as PEM block"
    )
    young = crd()
    young["status"]["conditions"] = []
    assert complaints(bad, young) == []
    assert complaints(bad, bad) == []


def test_names_and_conversion_are_filled_in() -> None:
    spec = crd()["spec"]
    assert (spec["names"]["singular"], spec["names"]["listKind"]) == ("widget", "WidgetList")
    assert spec["conversion"] == {"strategy": "None"}
    service = {"namespace": "a", "name": "b"}
    hook = {
        "strategy": "Webhook",
        "webhook": {"clientConfig": {"service": service}, "conversionReviewVersions": ["v1"]},
    }
    assert crd(conversion=hook)["spec"]["conversion"]["webhook"]["clientConfig"]["service"]["port"] == 443
    assert complaints(crd()) == []


def test_the_storage_version_is_remembered_with_those_before_it() -> None:
    old = crd(version(), version("v2"))
    new = crd(version(storage=False), version("v2", storage=True))
    STRATEGY.prepare_for_update(new, old)
    assert new["status"]["storedVersions"] == ["v1", "v2"]
    gone = crd(version("v2", storage=True))
    gone["status"] = new["status"]
    [found] = complaints(gone, new)
    assert found.startswith(
        'status.storedVersions[0]: Invalid value: "v1": missing from spec.versions; v1 was previously'
    )


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"group": "nodots"}, 'spec.group: Invalid value: "nodots": should be a domain with at least one dot'),
        ({"scope": "Odd"}, 'spec.scope: Unsupported value: "Odd": supported values: "Cluster", "Namespaced"'),
        (
            {"versions": [version("v_1", storage=True)]},
            'spec.versions[0].name: Invalid value: "v_1": a DNS-1035 label must consist of lower case alphanumeric',
        ),
        ({"versions": [version(), version()]}, "spec.versions: Invalid value"),
        ({"versions": [version(storage=False)]}, "must have exactly one version marked as storage version"),
        (
            {"names": {"plural": "widgets", "kind": "Widget", "listKind": "Widget"}},
            'spec.names.listKind: Invalid value: "Widget": kind and listKind may not be the same',
        ),
        (
            {"versions": [version(deprecationWarning="old")]},
            'spec.versions[0].deprecationWarning: Invalid value: "old": can only be set for deprecated versions',
        ),
        (
            {"versions": [version(additionalPrinterColumns=[{"name": "a", "type": "odd", "jsonPath": "x"}])]},
            'spec.additionalPrinterColumns[0].type: Invalid value: "odd": must be one of boolean,date,integer',
        ),
        (
            {"versions": [version(selectableFields=[{"jsonPath": ".spec"}])]},
            'spec.selectableFields[0].jsonPath: Invalid value: ".spec": must point to a field of type',
        ),
        (
            {"conversion": {"strategy": "Webhook"}},
            "spec.conversion.webhookClientConfig: Required value: required when strategy is set to Webhook",
        ),
        (
            {"conversion": webhook(url="https://u:p@x/?a=b")},
            'spec.conversion.webhookClientConfig.url: Invalid value: "u:p": user information is not permitted',
        ),
        (
            {"conversion": webhook(service={"namespace": "n", "name": "s", "path": "/a//b"})},
            'spec.conversion.webhookClientConfig.service.path: Invalid value: "/a//b": segment[1] may not be empty',
        ),
        (
            {"versions": [version("v_1", storage=True)]},
            'spec.version: Invalid value: "v_1": a DNS-1035 label must consist of lower case alphanumeric',
        ),
        (
            {"versions": [version(deprecated=True, deprecationWarning="é\n")]},
            "must only contain printable UTF-8 characters; non-printable character found at index 2",
        ),
        ({"preserveUnknownFields": True}, "spec.preserveUnknownFields: Invalid value: true: cannot set to true"),
    ],
)
def test_what_makes_no_sense_is_refused(spec: dict[str, Any], why: str) -> None:
    assert any(why in text for text in complaints(crd(**spec))), complaints(crd(**spec))


@pytest.mark.parametrize(
    ("path", "value"),
    [(("spec", "scope"), "Cluster"), (("spec", "names", "kind"), "Gadget"), (("spec", "group"), "example.org")],
)
def test_what_an_established_definition_is_does_not_change(path: tuple[str, ...], value: str) -> None:
    old = crd()
    new = copy.deepcopy(old)
    place = new
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    at = ".".join(path)
    assert f'{at}: Invalid value: "{value}": field is immutable' in complaints(new, old)


def test_what_is_no_list_of_versions_is_told_as_it_is() -> None:
    for told, shown in ((None, "null"), ([], "[]")):
        made = crd()
        made["spec"]["versions"] = told
        assert f"spec.versions: Invalid value: {shown}: must have exactly one version marked as storage version" in (
            complaints(made)
        )


def test_groups_of_kubernetes_itself_are_approved() -> None:
    made = crd(group="odd.k8s.io")
    made["metadata"]["name"] = "widgets.odd.k8s.io"
    [found] = complaints(made)
    assert found.startswith(
        "metadata.annotations[api-approved.kubernetes.io]: Required value: protected groups must have"
    )
    for told, admitted in (("unapproved, a test", True), ("https://example.com/1", True), ("by me", False)):
        made["metadata"]["annotations"] = {"api-approved.kubernetes.io": told}
        assert (complaints(made) == []) is admitted, told


def test_formats_nobody_knows_are_warned_of_once() -> None:
    def with_format(format: str) -> dict[str, Any]:
        properties = {"a": {"type": "string", "format": format}, "b": {"type": "string", "format": "date"}}
        return crd(version(schema={"openAPIV3Schema": {"type": "object", "properties": properties}}))

    assert STRATEGY.warnings(with_format("odd")) == ['unrecognized format "odd"']
    assert STRATEGY.update_warnings(with_format("odd"), with_format("odd")) == []
    assert STRATEGY.update_warnings(with_format("odder"), with_format("odd")) == ['unrecognized format "odder"']


def test_the_first_deletion_only_marks() -> None:
    made = crd()
    assert STRATEGY.begin_deletion(made)
    assert made["metadata"]["finalizers"] == [FINALIZER]
    [told] = [each for each in made["status"]["conditions"] if each["type"] == "Terminating"]
    assert (told["status"], told["reason"]) == ("True", "InstanceDeletionPending")
    assert not STRATEGY.begin_deletion(made), "the second lets it go, once its instances are gone"
