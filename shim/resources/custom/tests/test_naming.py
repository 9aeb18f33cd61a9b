"""Names are given to whoever asks first; who comes later keeps what it has, and hears what is taken."""

from __future__ import annotations

from typing import Any

from shim.api import conditions
from shim.resources.custom.naming import accept_names


def crd(of: str = "Widget", accepted: dict[str, Any] | None = None, **names: Any) -> dict[str, Any]:
    low = of.lower()
    wanted = {"plural": f"{low}s", "singular": low, "kind": of, "listKind": f"{of}List", **names}
    made: dict[str, Any] = {"spec": {"names": wanted}}
    if accepted is not None:
        made["status"] = {"acceptedNames": accepted, "conditions": []}
    return made


def told(status: dict[str, Any] | None, type: str) -> tuple[str, str, str]:
    assert status is not None
    found = conditions.find({"status": status}, type)
    assert found is not None
    return found["status"], found["reason"], found["message"]


def test_free_names_are_accepted_at_once() -> None:
    status = accept_names(crd(shortNames=["wd"], categories=["all"]), [])
    assert status is not None
    assert status["acceptedNames"] == {
        "plural": "widgets",
        "singular": "widget",
        "shortNames": ["wd"],
        "kind": "Widget",
        "listKind": "WidgetList",
        "categories": ["all"],
    }
    assert told(status, "NamesAccepted") == ("True", "NoConflicts", "no conflicts found")
    assert told(status, "Established")[:2] == ("True", "InitialNamesAccepted")
    settled = {**crd(shortNames=["wd"], categories=["all"]), "status": status}
    assert accept_names(settled, []) is None, "nothing is left to say"


def test_a_taken_name_keeps_a_definition_from_being_served() -> None:
    first = crd("Widget", accepted={"plural": "widgets", "singular": "widget", "kind": "Widget", "shortNames": ["g"]})
    status = accept_names(crd("Gadget", kind="Widget"), [first])
    assert told(status, "NamesAccepted") == ("False", "KindConflict", '"Widget" is already in use')
    assert told(status, "Established") == ("False", "NotAccepted", "not all names are accepted")
    assert status is not None
    assert status["acceptedNames"]["plural"] == "gadgets", "the names that are free are its own already"
    assert "kind" not in status["acceptedNames"]
    short = accept_names(crd("Gadget", shortNames=["g", "gd"]), [first])
    assert told(short, "NamesAccepted") == ("False", "ShortNamesConflict", '"g" is already in use')


def test_who_has_a_name_keeps_it() -> None:
    mine = {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"}
    other = crd("Gadget", accepted={"plural": "gadgets", "singular": "widget"})
    assert told(accept_names(crd(accepted=mine), [other]), "NamesAccepted")[0] == "True"


def test_a_definition_in_kubernetes_own_groups_tells_of_its_approval() -> None:
    made = crd()
    assert told(accept_names(made, []), "NamesAccepted")
    made |= {"metadata": {"annotations": {"api-approved.kubernetes.io": "https://example.com/1"}}}
    made["spec"]["group"] = "odd.k8s.io"
    status = accept_names(made, [])
    condition = "KubernetesAPIApprovalPolicyConformant"
    assert told(status, condition) == ("True", "ApprovedAnnotation", "approved in https://example.com/1")
    made |= {"status": status}
    assert accept_names(made, []) is None
    made["metadata"]["annotations"] = {"api-approved.kubernetes.io": "unapproved, a test"}
    changed = accept_names(made, [])
    assert told(changed, condition) == ("False", "UnapprovedAnnotation", 'not approved: "unapproved, a test"')
    made["metadata"] = {}
    assert told(accept_names(made, []), condition)[:2] == ("False", "MissingAnnotation")
