"""Volumes, claims, and what drivers say: what is refused, what may change, what is warned of."""

from __future__ import annotations

from typing import Any

import pytest

from shim.api.meta import Object
from shim.resources.tests.asked import edited, made, refused, row

ONCE = {"accessModes": ["ReadWriteOnce"]}


def claim(**spec: Any) -> Object:
    return {"spec": {**ONCE, "resources": {"requests": {"storage": "1Gi"}}, **spec}}


def volume(**spec: Any) -> Object:
    return {"spec": {**ONCE, "capacity": {"storage": "1Gi"}, **spec}}


def storage_class(**fields: Any) -> Object:
    return {"provisioner": "example.com/disk", **fields}


def attachment(**source: Any) -> Object:
    return {"spec": {"attacher": "example.com", "nodeName": "n", "source": source}}


INLINE = "in the context of inline volumes"

REFUSED: list[tuple[str, Object, list[str]]] = [
    (
        "persistentvolumeclaims",
        claim(accessModes=["ReadWriteOncePod", "ReadOnlyMany"], resources={"requests": {"storage": "0"}}),
        [
            "spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes",
            'spec.resources[storage]: Invalid value: "0": must be greater than zero',
        ],
    ),
    (
        "persistentvolumeclaims",
        claim(
            dataSource={"kind": "PersistentVolumeClaim", "name": "a"},
            dataSourceRef={"kind": "PersistentVolumeClaim", "name": "b"},
        ),
        ["spec: Invalid value: {}: must match dataSourceRef"],
    ),
    (
        "persistentvolumes",
        volume(),
        ["spec: Required value: must specify a volume type"],
    ),
    (
        "persistentvolumes",
        volume(local={"path": "/a/../b"}, nfs={"server": "a", "path": "b"}),
        [
            'spec.nfs.path: Invalid value: "b": must be an absolute path',
            "spec.local: Forbidden: may not specify more than 1 volume type",
        ],
    ),
    (
        "persistentvolumes",
        volume(local={"path": "/a"}),
        ["spec.nodeAffinity: Required value: Local volume requires node affinity"],
    ),
    (
        "persistentvolumes",
        volume(hostPath={"path": "/"}, persistentVolumeReclaimPolicy="Recycle"),
        ["spec.persistentVolumeReclaimPolicy: Forbidden: may not be 'recycle' for a hostPath mount of '/'"],
    ),
    (
        "persistentvolumes",
        volume(csi={"driver": "A_b", "nodeStageSecretRef": {}, "nodePublishSecretRef": {"name": "a"}}),
        [
            'spec.csi.driver: Invalid value: "A_b": a lowercase RFC 1123 subdomain must consist of lower case '
            "alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. "
            r"'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*"
            "[a-z0-9])?)*')",
            "spec.csi.volumeHandle: Required value",
            "spec.csi.nodePublishSecretRef.namespace: Required value",
        ],
    ),
    (
        "persistentvolumes",
        volume(iscsi={"targetPortal": "a", "iqn": "iqn.x", "lun": 256}),
        [
            'spec.iscsi.iqn: Invalid value: "iqn.x": must be valid format',
            "spec.iscsi.lun: Invalid value: 256: must be between 0 and 255, inclusive",
        ],
    ),
    (
        "persistentvolumes",
        volume(hostPath={"path": "/a"}, volumeAttributesClassName=""),
        [
            "spec.volumeAttributesClassName: Required value: an empty string is disallowed",
            "spec.csi: Required value: has to be specified when using volumeAttributesClassName",
        ],
    ),
    (
        "storageclasses",
        storage_class(allowedTopologies=[{"matchLabelExpressions": [{"key": "a", "values": ["b", "b"]}]}]),
        ['allowedTopologies[0].matchLabelExpressions[0].values[1]: Duplicate value: "b"'],
    ),
    ("storageclasses", storage_class(parameters={"": "x"}), ['parameters: Invalid value: "": field can not be empty.']),
    (
        "volumeattributesclasses",
        {"driverName": "example.com"},
        ["parameters: Required value: must contain at least one key/value pair"],
    ),
    (
        "csidrivers",
        {"spec": {"tokenRequests": [{"audience": "a", "expirationSeconds": 5}, {"audience": "a"}]}},
        [
            "spec.tokenRequests[0].expirationSeconds: Invalid value: 5: may not specify a duration less than 10 "
            "minutes",
            'spec.tokenRequests[1].audience: Duplicate value: "a"',
        ],
    ),
    (
        "csinodes",
        {"spec": {"drivers": [{"name": "a", "nodeID": "n"}, {"name": "a", "allocatable": {"count": -1}}]}},
        [
            "spec.drivers[1].nodeID: Required value",
            "spec.drivers[1].allocatable.count: Invalid value: -1: must be greater than or equal to 0",
            'spec.drivers[1].name: Duplicate value: "a"',
        ],
    ),
    (
        "csistoragecapacities",
        {"storageClassName": "a", "capacity": "-1"},
        ['capacity: Invalid value: "-1": must be greater than or equal to 0'],
    ),
    (
        "volumeattachments",
        attachment(),
        ["spec.source: Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName"],
    ),
    (
        "volumeattachments",
        attachment(inlineVolumeSpec={**ONCE, "capacity": {"storage": "1"}, "nfs": {"server": "a", "path": "/b"}}),
        [
            f"spec.source.inlineVolumeSpec.capacity: Forbidden: may not be specified {INLINE}",
            f"spec.source.inlineVolumeSpec.csi: Required value: has to be specified {INLINE}",
        ],
    ),
]


@pytest.mark.parametrize(("resource", "obj", "expected"), REFUSED)
def test_what_is_refused(resource: str, obj: Object, expected: list[str]) -> None:
    assert refused(resource, obj) == expected


CHANGES: list[tuple[str, Object, Object, list[str]]] = [
    ("persistentvolumeclaims", claim(), {"volumeName": "v"}, []),
    ("persistentvolumeclaims", claim(), {"storageClassName": "fast"}, []),
    (
        "persistentvolumeclaims",
        {**claim(), "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}},
        {"resources": {"requests": {"storage": "2Gi"}}},
        [],
    ),
    (
        "persistentvolumeclaims",
        {**claim(resources={"requests": {"storage": "2Gi"}}), "status": {"phase": "Bound", "capacity": {}}},
        {"resources": {"requests": {"storage": "1Gi"}}},
        [],
    ),
    (
        "persistentvolumeclaims",
        {**claim(), "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}},
        {"resources": {"requests": {"storage": "1"}}},
        ["spec.resources.requests.storage: Forbidden: field can not be less than status.capacity"],
    ),
    (
        "persistentvolumeclaims",
        claim(),
        {"accessModes": ["ReadOnlyMany"]},
        [
            "spec: Forbidden: spec is immutable after creation except resources.requests and "
            "volumeAttributesClassName for bound claims\n"
            '@@ -1,6 +1,6 @@\n {\n  "AccessModes": [\n-  "ReadWriteOnce"\n+  "ReadOnlyMany"\n  ],\n'
            '  "Selector": null,\n  "Resources": {\n'
        ],
    ),
]


@pytest.mark.parametrize(("resource", "obj", "change", "expected"), CHANGES)
def test_what_may_change(resource: str, obj: Object, change: Object, expected: list[str]) -> None:
    assert edited(resource, obj, lambda found: found["spec"].update(change)) == expected


def test_a_volume_stays_what_it_is_made_of() -> None:
    def move(obj: Object) -> None:
        obj["spec"]["nfs"]["path"] = "/b"

    found = edited("persistentvolumes", volume(nfs={"server": "a", "path": "/a"}), move)
    assert found == [
        "spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation\n"
        '@@ -5,7 +5,7 @@\n  "Glusterfs": null,\n  "NFS": {\n   "Server": "a",\n-  "Path": "/a",\n+  "Path": "/b",\n'
        '   "ReadOnly": false\n  },\n  "RBD": null,\n'
    ]


def test_a_place_may_only_be_renamed() -> None:
    def place(key: str) -> Object:
        terms = [{"matchExpressions": [{"key": key, "operator": "In", "values": ["a"]}]}]
        return {"required": {"nodeSelectorTerms": terms}}

    old = volume(local={"path": "/a"}, nodeAffinity=place("failure-domain.beta.kubernetes.io/zone"))

    def move(key: str) -> list[str]:
        return edited("persistentvolumes", old, lambda obj: obj["spec"].update(nodeAffinity=place(key)))

    assert move("topology.kubernetes.io/zone") == []
    assert move("else")[0].endswith("field is immutable, except for updating from beta label to GA")


def test_classes_and_attachments_never_change() -> None:
    assert edited("storageclasses", storage_class(), lambda obj: obj.update(provisioner="other")) == [
        'provisioner: Invalid value: "other": field is immutable'
    ]
    assert edited(
        "volumeattachments", attachment(persistentVolumeName="a"), lambda obj: obj["spec"].pop("nodeName")
    ) == [
        'spec.nodeName: Invalid value: "": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric '
        "characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex "
        r"used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
        'spec: Invalid value: {"Attacher":"example.com","Source":{"PersistentVolumeName":"a","InlineVolumeSpec":null},'
        '"NodeName":""}: field is immutable',
    ]


def test_a_phase_is_dated_when_it_begins() -> None:
    old = made("persistentvolumes", volume(hostPath={"path": "/a"}))
    old["status"]["lastPhaseTransitionTime"] = "2024-01-01T00:00:00Z"
    same: Object = {**old, "status": {"phase": "Pending"}}
    other: Object = {**old, "status": {"phase": "Bound", "lastPhaseTransitionTime": "2024-01-01T00:00:00Z"}}
    strategy = row("persistentvolumes").strategy
    strategy.prepare_for_status_update(same, old)
    strategy.prepare_for_status_update(other, old)
    assert same["status"]["lastPhaseTransitionTime"] == "2024-01-01T00:00:00Z"
    assert other["status"]["lastPhaseTransitionTime"] > "2024-01-01T00:00:00Z"


def test_a_source_under_its_old_name_is_told_under_the_new() -> None:
    source = {"kind": "PersistentVolumeClaim", "name": "a"}
    assert made("persistentvolumeclaims", claim(dataSource=source))["spec"]["dataSourceRef"] == source
    assert "dataSource" not in made("persistentvolumeclaims", claim(dataSource={"kind": "Else", "name": "a"}))["spec"]


WARNED: list[tuple[str, Object, list[str]]] = [
    (
        "persistentvolumes",
        volume(glusterfs={"endpoints": "a", "path": "b"}, persistentVolumeReclaimPolicy="Recycle"),
        [
            "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended "
            "approach is to use dynamic provisioning.",
            "spec.glusterfs: deprecated in v1.25, non-functional in v1.26+",
        ],
    ),
    (
        "persistentvolumeclaims",
        claim(resources={"requests": {"storage": "100m"}}),
        ['spec.resources.requests[storage]: fractional byte value "100m" is invalid, must be an integer'],
    ),
    (
        "storageclasses",
        storage_class(allowedTopologies=[{"matchLabelExpressions": [{"key": "beta.kubernetes.io/os"}]}]),
        ['allowedTopologies[0].matchLabelExpressions[0].key: deprecated since v1.14; use "kubernetes.io/os" instead'],
    ),
    (
        "csidrivers",
        {"spec": {"tokenRequests": [{"audience": "a"}]}},
        [
            "spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to prevent "
            "possible logging of tokens in volume attributes"
        ],
    ),
]


@pytest.mark.parametrize(("resource", "obj", "expected"), WARNED)
def test_what_is_warned_of(resource: str, obj: Object, expected: list[str]) -> None:
    assert row(resource).strategy.warnings(made(resource, obj)) == expected
