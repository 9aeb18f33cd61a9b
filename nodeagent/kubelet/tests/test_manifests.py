"""What a file in a node's folder makes: a pod of its own, or words about what is wrong with it."""

import json

import pytest

from nodeagent.kubelet.names import CONFIG_HASH, CONFIG_MIRROR, CONFIG_SOURCE, is_mirror, is_static
from nodeagent.kubelet.statics.manifest import InvalidManifest, mirror_of, static_pod
from nodeagent.kubelet.statics.mirrors import Create, Delete, plan

WEB = """
apiVersion: v1
kind: Pod
metadata:
  name: web
  annotations: {mine: too}
spec:
  priorityClassName: system-node-critical
  containers: [{name: c, image: "busybox:1"}]
"""


def made(text=WEB, file="/m/web.yaml", node="n1"):
    return static_pod(text.encode(), file, node)


def test_a_static_pod_is_named_after_its_node_and_known_by_its_content():
    pod = made()
    meta, spec = pod["metadata"], pod["spec"]
    assert (meta["name"], meta["namespace"], spec["nodeName"]) == ("web-n1", "default", "n1")
    assert (meta["annotations"][CONFIG_SOURCE], meta["annotations"][CONFIG_HASH]) == ("file", meta["uid"])
    assert meta["annotations"]["mine"] == "too"
    assert spec["tolerations"] == [{"operator": "Exists", "effect": "NoExecute"}]
    assert (spec["restartPolicy"], spec["priority"]) == ("Always", 2_000_001_000)
    assert is_static(pod)
    uids = {made()["metadata"]["uid"], made(WEB.replace("busybox:1", "busybox:2"))["metadata"]["uid"]}
    uids |= {made(file="/m/other.yaml")["metadata"]["uid"], made(node="n2")["metadata"]["uid"]}
    assert meta["uid"] in uids
    assert len(uids) == 4


def test_json_is_as_good_and_a_uid_of_ones_own_is_kept():
    written = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "w", "uid": "mine", "namespace": "ns"}}
    pod = made(json.dumps({**written, "spec": {"containers": [{"name": "c", "image": "b"}]}}))
    assert (pod["metadata"]["uid"], pod["metadata"]["annotations"][CONFIG_HASH]) == ("mine", "mine")
    assert pod["metadata"]["namespace"] == "ns"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "yaml: line 1: did not find expected node content"),
        ("[]", "it is not a Pod of v1"),
        (WEB.replace("kind: Pod", "kind: Service"), "it is not a Pod of v1"),
        (WEB.replace("name: web", "labels: {}"), "invalid pod: name is needed for the pod"),
        (WEB.replace("name: web", "name: Web_"), "invalid pod: metadata.name: Invalid value"),
        (WEB.replace('[{name: c, image: "busybox:1"}]', "[]"), "invalid pod: spec.containers: Required value"),
        (WEB.replace('[{name: c, image: "busybox:1"}]', "yes"), 'Pod in version "v1" cannot be handled as a Pod: json'),
        (WEB + "  serviceAccountName: a", "static pods may not reference serviceaccounts"),
        (WEB + "  volumes: [{name: v, secret: {secretName: s}}]", "static pods may not reference secrets"),
        (WEB + "  volumes: [{name: v, configMap: {name: s}}]", "static pods may not reference configmaps"),
    ],
)
def test_what_is_no_static_pod(text, said):
    with pytest.raises(InvalidManifest) as refusal:
        made(text)
    assert str(refusal.value).startswith(said)


def test_the_mirror_belongs_to_the_node():
    mirror = mirror_of(made(), {"metadata": {"name": "n1", "uid": "u1"}})
    owner = {"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "u1", "controller": True}
    assert mirror["metadata"]["ownerReferences"] == [owner]
    assert mirror["metadata"]["annotations"][CONFIG_MIRROR] == made()["metadata"]["uid"]
    assert "uid" not in mirror["metadata"]
    assert is_mirror(mirror)
    assert not is_static(mirror)


def test_which_mirrors_are_made_and_which_go():
    pod = made()
    mirror = mirror_of(pod, {"metadata": {"name": "n1", "uid": "u1"}})
    key, other = "default/web-n1", {"metadata": {**mirror["metadata"], "annotations": {CONFIG_MIRROR: "other"}}}
    going = {"metadata": {**mirror["metadata"], "deletionTimestamp": "now"}}
    assert list(plan({key: pod}, {})) == [Create(pod)]
    assert list(plan({key: pod}, {key: mirror})) == []
    assert list(plan({key: pod}, {key: other})) == [Delete(other)]  # its file has changed
    assert list(plan({key: pod}, {key: going})) == [Delete(going)]  # and then it is made anew
    assert list(plan({key: None}, {key: other})) == []  # not before its pod has ended
    assert list(plan({}, {key: mirror})) == [Delete(mirror)]
