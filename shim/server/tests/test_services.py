"""Cluster IPs and node ports: everyone gets one, nobody gets another's."""

from __future__ import annotations

import asyncio
import ipaddress

import pytest

from shim.api.meta import now
from shim.server.allocators import Span, kept_for_the_asking
from shim.server.tests.conftest import serving

SERVICES = "/api/v1/namespaces/{ns}/services"
ADDRESSES = "/apis/networking.k8s.io/v1/ipaddresses"


def _service(name, **spec):
    return {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}], **spec}}


async def test_a_service_gets_an_address_and_gives_it_back(api):
    made = (await api.post(SERVICES, _service("a"))).json["spec"]
    assert ipaddress.ip_address(made["clusterIP"]) in ipaddress.ip_network("10.96.0.0/16")
    taken = await api.post(SERVICES, _service("b", clusterIP=made["clusterIP"]))
    assert taken.status == 422
    assert taken.message.endswith("provided IP is already allocated")
    await api.delete(f"{SERVICES}/a")
    assert (await api.post(SERVICES, _service("b", clusterIP=made["clusterIP"]))).status == 201


async def test_node_ports_come_and_go_with_the_type(api):
    made = (await api.post(SERVICES, _service("a", type="NodePort"))).json["spec"]
    port = made["ports"][0]["nodePort"]
    assert 30000 <= port <= 32767
    wanted = [{"port": 80, "nodePort": port}]
    taken = await api.post(SERVICES, _service("b", type="NodePort", ports=wanted))
    assert taken.message.endswith(f"Invalid value: {port}: provided port is already allocated")
    plain = (await api.patch(f"{SERVICES}/a", {"spec": {"type": "ClusterIP"}})).json["spec"]
    assert "nodePort" not in plain["ports"][0]
    assert plain["clusterIP"] == made["clusterIP"]
    assert (await api.post(SERVICES, _service("b", type="NodePort", ports=wanted))).status == 201


async def test_a_replaced_service_keeps_what_it_was_given(api):
    made = (await api.post(SERVICES, _service("a", type="NodePort"))).json["spec"]
    kept = (await api.put(f"{SERVICES}/a", _service("a", type="NodePort"))).json["spec"]
    assert kept["clusterIP"] == made["clusterIP"]
    assert kept["ports"] == made["ports"]


async def test_a_refused_service_takes_nothing(api):
    first = (await api.post(SERVICES, _service("a", type="NodePort"))).json["spec"]["ports"][0]["nodePort"]
    ports = [{"port": 1, "name": "x", "nodePort": 30041}, {"port": 2, "name": "y", "nodePort": first}]
    assert (await api.post(SERVICES, _service("b", type="NodePort", ports=ports))).status == 422
    alone = [{"port": 1, "nodePort": 30041}]
    assert (await api.post(SERVICES, _service("c", type="NodePort", ports=alone))).status == 201


async def test_a_service_is_given_what_it_needs_before_it_is_judged(api):
    address = (await api.post(SERVICES, _service("a"))).json["spec"]["clusterIP"]
    nameless = [{"port": 80}, {"port": 81}]
    refused = await api.post(SERVICES, _service("b", clusterIP=address, ports=nameless))
    assert refused.message.endswith("provided IP is already allocated")
    refused = await api.post(SERVICES, _service("b", type="NodePort", ports=[*nameless, {"port": 82, "nodePort": 1}]))
    assert refused.message.endswith("The range of valid ports is 30000-32767")
    named = _service("b", clusterIP="10.96.77.7", ports=nameless)
    refused = await api.post(SERVICES, named)
    found = [cause["field"] for cause in refused.json["details"]["causes"]]
    assert found == ["spec.ports[0].name", "spec.ports[1].name"]
    assert (await api.get(f"{ADDRESSES}/10.96.77.7")).status == 404
    assert (await api.post(SERVICES, _service("a", clusterIP="10.96.77.7"))).status == 409  # the name is taken
    assert (await api.get(f"{ADDRESSES}/10.96.77.7")).status == 404


async def test_a_refused_update_of_a_service_takes_and_frees_nothing(api):
    made = (await api.post(SERVICES, _service("a", type="NodePort"))).json
    port = made["spec"]["ports"][0]["nodePort"]
    ports = [{"port": 80, "nodePort": 30042}, {"port": 81}]
    assert (await api.put(f"{SERVICES}/a", _service("a", type="NodePort", ports=ports))).status == 422
    taken = await api.post(SERVICES, _service("b", type="NodePort", ports=[{"port": 80, "nodePort": port}]))
    assert taken.message.endswith("provided port is already allocated")
    free = await api.post(SERVICES, _service("c", type="NodePort", ports=[{"port": 80, "nodePort": 30042}]))
    assert free.status == 201


async def test_headless_services_have_no_address(api):
    assert (await api.post(SERVICES, _service("a", clusterIP="None"))).json["spec"]["clusterIP"] == "None"


async def test_a_service_that_becomes_a_name_has_no_policy_for_traffic_inside(api):
    await api.post(SERVICES, _service("a"))
    named = (await api.patch(f"{SERVICES}/a", {"spec": {"type": "ExternalName", "externalName": "a.b"}})).json["spec"]
    assert not {"clusterIP", "internalTrafficPolicy", "ipFamilies"} & named.keys()


async def test_the_server_is_a_service_itself(api):
    service = (await api.get("/api/v1/namespaces/default/services/kubernetes")).json
    assert service["spec"]["clusterIP"] == "10.96.0.1"
    slices = await api.get("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes")
    assert slices.json["endpoints"][0]["addresses"] == ["127.0.0.1"]


async def test_an_address_is_an_object_that_comes_and_goes_with_its_service(api):
    made = (await api.post(SERVICES, _service("a", type="NodePort"))).json
    path = f"{ADDRESSES}/{made['spec']['clusterIP']}"
    address = (await api.get(path)).json
    assert address["metadata"]["labels"] == {
        "ipaddress.kubernetes.io/ip-family": "IPv4",
        "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
    }
    assert address["metadata"]["managedFields"][0]["manager"] == "kube-apiserver"
    assert address["spec"]["parentRef"] == {"resource": "services", "namespace": api.namespace, "name": "a"}
    named = {"spec": {"type": "ExternalName", "externalName": "a.b", "clusterIP": None, "clusterIPs": None}}
    assert (await api.patch(f"{SERVICES}/a", named)).status == 200
    assert (await api.get(path)).status == 404
    again = (await api.patch(f"{SERVICES}/a", {"spec": {"type": "ClusterIP"}})).json["spec"]["clusterIP"]
    assert (await api.get(f"{ADDRESSES}/{again}")).status == 200
    assert (await api.delete(f"{SERVICES}/a")).status == 200
    assert (await api.get(f"{ADDRESSES}/{again}")).status == 404


async def test_an_address_that_is_somebody_elses_is_not_freed(api):
    made = (await api.post(SERVICES, _service("a"))).json["spec"]["clusterIP"]
    path = f"{ADDRESSES}/{made}"
    address = (await api.get(path)).json
    await api.delete(path)
    parent = {"group": "example.com", "resource": "gateways", "name": "g"}
    taken = {"metadata": {"name": made}, "spec": {"parentRef": parent}}
    assert (await api.post(ADDRESSES, taken)).status == 201
    await api.delete(f"{SERVICES}/a")
    assert (await api.get(path)).json["metadata"]["uid"] != address["metadata"]["uid"]
    assert (await api.post(SERVICES, _service("b", clusterIP=made))).status == 422
    await api.delete(path)


async def test_a_service_waits_for_its_finalizer_and_keeps_its_address_until_then(api):
    body = _service("a")
    body["metadata"]["finalizers"] = ["example.com/hold"]
    made = (await api.post(SERVICES, body)).json["spec"]["clusterIP"]
    await api.delete(f"{SERVICES}/a")
    assert (await api.get(f"{ADDRESSES}/{made}")).status == 200
    await api.patch(f"{SERVICES}/a", {"metadata": {"finalizers": None}})
    assert (await api.get(f"{ADDRESSES}/{made}")).status == 404


async def test_the_default_range_is_an_object(api):
    found = (await api.get("/apis/networking.k8s.io/v1/servicecidrs/kubernetes")).json
    assert found["spec"] == {"cidrs": ["10.96.0.0/16"]}
    [ready] = found["status"]["conditions"]
    assert (ready["type"], ready["status"], ready["message"]) == (
        "Ready",
        "True",
        "Kubernetes default Service CIDR is ready",
    )
    parent = (await api.get(f"{ADDRESSES}/10.96.0.1")).json["spec"]["parentRef"]
    assert parent == {"resource": "services", "namespace": "default", "name": "kubernetes"}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            {"clusterIP": "1.2.3.4"},
            'Service "a" is invalid: spec.clusterIPs: Invalid value: ["1.2.3.4"]: failed to allocate IP 1.2.3.4: the '
            "provided network does not match the current range",
        ),
        (
            {"clusterIP": "10.96.0.0"},
            'Service "a" is invalid: spec.clusterIPs: Invalid value: ["10.96.0.0"]: failed to allocate IP 10.96.0.0: '
            "the provided network does not match the current range",
        ),
        (
            {"clusterIP": "10.96.0.1"},
            'Service "a" is invalid: spec.clusterIPs: Invalid value: ["10.96.0.1"]: failed to allocate IP 10.96.0.1: '
            "provided IP is already allocated",
        ),
        (
            {"type": "NodePort", "ports": [{"port": 80, "nodePort": 1999}]},
            'Service "a" is invalid: spec.ports[0].nodePort: Invalid value: 1999: provided port is not in the valid '
            "range. The range of valid ports is 30000-32767",
        ),
        (
            {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 29999},
            "Internal error occurred: failed to allocate requested HealthCheck NodePort 29999: provided port is not "
            "in the valid range. The range of valid ports is 30000-32767",
        ),
        (
            {
                "type": "LoadBalancer",
                "externalTrafficPolicy": "Local",
                "healthCheckNodePort": 30001,
                "ports": [{"port": 80, "nodePort": 30001}],
            },
            "Internal error occurred: failed to allocate requested HealthCheck NodePort 30001: provided port is "
            "already allocated",
        ),
    ],
)
async def test_what_cannot_be_had_is_refused(api, spec, message):
    assert (await api.post(SERVICES, _service("a", **spec))).message == message


async def test_one_port_in_two_protocols_is_one_node_port(api):
    ports = [{"name": name, "port": 53, "protocol": protocol} for name, protocol in (("a", "UDP"), ("b", "TCP"))]
    made = (await api.post(SERVICES, _service("a", type="NodePort", ports=ports))).json["spec"]["ports"]
    assert made[0]["nodePort"] == made[1]["nodePort"]


async def test_a_dry_run_shows_stand_ins_and_takes_nothing(api):
    body = _service("a", type="NodePort")
    shown = (await api.post(f"{SERVICES}?dryRun=All", body)).json["spec"]
    assert (shown["clusterIP"], shown["ports"][0]["nodePort"]) == ("10.96.0.0", 32769)
    dry = (await api.post(f"{SERVICES}?dryRun=All", _service("a", clusterIP="10.96.0.1"))).json["spec"]
    assert dry["clusterIP"] == "10.96.0.1"
    outside = await api.post(f"{SERVICES}?dryRun=All", _service("a", clusterIP="1.2.3.4"))
    assert outside.message.endswith(
        "the provided IP (1.2.3.4) is not in the valid range. The range of valid IPs is 10.96.0.0/16"
    )


async def test_a_service_with_hundreds_of_ports_takes_and_frees_them_all(api):
    ports = [{"name": f"p{number}", "port": number} for number in range(1, 301)]
    made = (await api.post(SERVICES, _service("a", type="NodePort", ports=ports))).json["spec"]["ports"]
    assert len({port["nodePort"] for port in made}) == 300
    await api.delete(f"{SERVICES}/a")
    wanted = [{"port": 80, "nodePort": made[0]["nodePort"]}]
    assert (await api.post(SERVICES, _service("b", type="NodePort", ports=wanted))).status == 201


async def test_requests_that_are_given_up_leave_addresses_and_services_in_step(api):
    made = [asyncio.create_task(api.post(SERVICES, _service(f"a{number}", type="NodePort"))) for number in range(40)]
    for task in made:
        await asyncio.sleep(0.002)
        task.cancel()
    await asyncio.gather(*made, return_exceptions=True)
    assert (await api.post(SERVICES, _service("last"))).status == 201  # whatever was under way is done by then
    mine = {item["spec"]["clusterIP"] for item in (await api.get(SERVICES)).json["items"]}
    addresses = (await api.get(ADDRESSES)).json["items"]
    assert mine == {
        item["metadata"]["name"] for item in addresses if item["spec"]["parentRef"]["namespace"] == api.namespace
    }


def test_a_span_gives_its_upper_numbers_first_then_the_kept_ones_then_nothing():
    span, given = Span(1, 40, 10), []
    while (number := span.pick(given.__contains__)) is not None:
        given.append(number)
    assert sorted(given) == list(range(1, 41))
    assert sorted(given[:30]) == list(range(11, 41))


@pytest.mark.parametrize(("size", "kept"), [(16, 0), (32, 16), (512, 32), (65536, 256)])
def test_few_addresses_are_kept_for_those_who_name_one(size, kept):
    assert kept_for_the_asking(size, 16, 16, 256) == kept


async def test_addresses_come_from_further_ranges_when_the_first_is_full(tmp_path):
    ranges = "/apis/networking.k8s.io/v1/servicecidrs"
    async with serving(tmp_path, service_cidr="10.96.0.0/29") as api:
        made = [await api.post(SERVICES, _service(f"s{number}")) for number in range(6)]
        assert [answer.status for answer in made] == [201] * 5 + [500]
        assert made[5].message == (
            'Internal error occurred: failed to allocate a serviceIP for Service "s5": range is full'
        )
        more = {"metadata": {"name": "more"}, "spec": {"cidrs": ["10.97.0.0/30"]}}
        assert (await api.post(ranges, more)).status == 201
        assert (await api.post(SERVICES, _service("a"))).json["spec"]["clusterIP"] in ("10.97.0.1", "10.97.0.2")
        unready = {"status": {"conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": now()}]}}
        assert (await api.patch(f"{ranges}/more/status", unready)).status == 200
        assert (await api.post(SERVICES, _service("b"))).message.endswith("range is full")
