"""Cluster IPs and node ports: everyone gets one, nobody gets another's."""

from __future__ import annotations

import ipaddress

from shim.server.allocators import Pool

SERVICES = "/api/v1/namespaces/{ns}/services"


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
    ports = [{"port": 1, "name": "x", "nodePort": 31999}, {"port": 2, "name": "y", "nodePort": first}]
    assert (await api.post(SERVICES, _service("b", type="NodePort", ports=ports))).status == 422
    alone = [{"port": 1, "nodePort": 31999}]
    assert (await api.post(SERVICES, _service("c", type="NodePort", ports=alone))).status == 201


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


def test_a_pool_gives_the_upper_band_first_then_the_lower_then_nothing():
    pool = Pool(1, 40, (4, 10, 10))
    given = []
    while (number := pool.pick()) is not None:
        pool.used.add(number)
        given.append(number)
    assert sorted(given) == list(range(1, 41))
    assert sorted(given[:30]) == list(range(11, 41))
