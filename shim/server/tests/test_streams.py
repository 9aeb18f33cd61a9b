"""What is said of streams and logs that cannot be opened, in upstream's order: pod, container, node, way."""

from __future__ import annotations

import pytest

PODS = "/api/v1/namespaces/{ns}/pods"
SPDY = {"Connection": "Upgrade", "Upgrade": "SPDY/3.1"}
CHOOSE = "a container name must be specified for pod {pod}, choose one of: [c d]"
NO_HOST = "pod waiting does not have a host assigned"
NO_ADDRESS = "no preferred addresses found; known addresses: []"
PORT = 'cannot convert to []int32: strconv.ParseUint: parsing "x": invalid syntax'
TIME = 'parsing time "x" as "2006-01-02T15:04:05Z07:00": cannot parse "x" as "2006"'


@pytest.mark.parametrize(
    ("path", "headers", "code", "said"),
    [
        ("nope/exec?command=ls&stdout=1", {}, 404, 'pods "nope" not found'),
        ("nope/portforward", SPDY, 404, 'pods "nope" not found'),
        ("nope/portforward?ports=x", SPDY, 400, PORT),
        ("waiting/exec?command=ls&stdout=1", {}, 400, CHOOSE.format(pod="waiting")),
        ("waiting/exec?container=z&command=ls", {}, 400, "container z is not valid for pod waiting"),
        ("waiting/exec?container=c", {}, 400, NO_HOST),
        ("waiting/attach?container=c", SPDY, 400, NO_HOST),
        ("waiting/portforward", {}, 400, NO_HOST),
        ("placed/exec?container=c", SPDY, 500, NO_ADDRESS),
        ("placed/portforward?ports=80", {}, 500, NO_ADDRESS),
        ("placed/log?container=c", {}, 500, NO_ADDRESS),
        ("reached/exec?container=c&command=ls&stdout=1", {}, 400, "Upgrade request required"),
        ("reached/portforward", {}, 400, "Upgrade request required"),
        ("reached/exec?container=c&command=ls", SPDY, 400, "you must specify at least 1 of stdin, stdout, stderr"),
        ("nope/log?sinceTime=x", {}, 400, TIME),
        ("lost/log?container=c", {}, 404, 'pods "gone" not found'),
        ("lost/exec?container=c&command=ls&stdout=1", {}, 404, 'pods "gone" not found'),
    ],
)
async def test_the_first_thing_that_is_wrong_is_told(api, path, headers, code, said):
    await _pods(api)
    refused = await api.get(f"{PODS}/{path}", headers=headers)
    assert (refused.status, refused.message) == (code, said)


async def test_a_pod_that_waits_has_said_nothing_yet(api):
    await _pods(api)
    empty = await api.get(f"{PODS}/waiting/log?container=c")
    assert (empty.status, empty.data) == (204, b"")


async def _pods(api):
    """A pod without a node, one on a node that nobody can find, and one whose node has an address."""
    bare, found = f"bare-{api.namespace}", f"found-{api.namespace}"
    await api.post("/api/v1/nodes", {"metadata": {"name": bare}})
    address = {"addresses": [{"type": "InternalIP", "address": "127.0.0.1"}]}
    await api.post("/api/v1/nodes", {"metadata": {"name": found}, "status": address})
    for name, node in (
        ("waiting", {}),
        ("placed", {"nodeName": bare}),
        ("reached", {"nodeName": found}),
        ("lost", {"nodeName": "gone"}),
    ):
        body = api.pod(name, **node)
        body["spec"]["containers"].append({"name": "d", "image": "busybox"})
        assert (await api.post(PODS, body)).status == 201
