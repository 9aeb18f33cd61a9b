"""What /metrics tells of what was done."""

from __future__ import annotations

import asyncio
import re

CONFIGMAPS = "/api/v1/namespaces/{ns}/configmaps"


async def samples(api, name: str, **labels: str) -> dict[str, float]:
    """The samples of a name that have these labels: the text of all their labels, and the value."""
    return samples_of((await api.get("/metrics")).data.decode(), name, **labels)


def samples_of(text: str, name: str, **labels: str) -> dict[str, float]:
    found = {}
    for line in text.splitlines():
        match = re.fullmatch(rf"{name}(\{{.*\}})? (\S+)", line)
        if match and all(f'{key}="{value}"' in (match[1] or "") for key, value in labels.items()):
            found[match[1] or ""] = float(match[2])
    return found


async def total(api, name: str, **labels: str) -> float:
    return sum((await samples(api, name, **labels)).values())


async def counted(api, name: str, **labels: str) -> None:
    """Until there is something to count."""
    for _ in range(500):
        if await total(api, name, **labels):
            return
        await asyncio.sleep(0.01)
    raise AssertionError(name)


async def test_requests_are_counted_by_what_came_of_them_and_timed_together(api):
    about = {"verb": "GET", "resource": "configmaps", "scope": "resource"}
    name = "apiserver_request"

    async def now(code: str) -> float:
        return await total(api, f"{name}_total", code=code, **about)

    await api.post(CONFIGMAPS, api.configmap("there"))
    found, missed = await now("200"), await now("404")
    timed = await total(api, f"{name}_duration_seconds_count", **about)
    sized = await total(api, "apiserver_response_sizes_count", **about)
    for path in ("there", "there", "nowhere"):
        await api.get(f"{CONFIGMAPS}/{path}")
    assert (await now("200"), await now("404")) == (found + 2, missed + 1)
    assert await total(api, f"{name}_duration_seconds_count", **about) == timed + 3
    assert await total(api, f"{name}_sli_duration_seconds_count", **about) == timed + 3
    assert await total(api, "apiserver_response_sizes_count", **about) == sized + 3
    [text] = [text for text in await samples(api, f"{name}_duration_seconds_count", **about) if 'dry_run=""' in text]
    assert "code=" not in text


async def test_identities_are_counted_as_often_as_they_are_timed(api):
    await api.get("/version", headers={"Authorization": "Bearer nobody's"}, anonymous=True)
    text = (await api.get("/metrics")).data.decode()
    for result in ("success", "failure"):
        [counted] = samples_of(text, "authentication_attempts", result=result).values()
        [timed] = samples_of(text, "authentication_duration_seconds_count", result=result).values()
        assert counted == timed > 0
    assert await total(api, "authorization_attempts_total", result="allowed") > 0


async def test_allocations_are_counted_by_who_chose(api):
    services, ips = "/api/v1/namespaces/{ns}/services", "kube_apiserver_clusterip_allocator"
    before = (await api.get("/metrics")).data.decode()
    ports = [{"port": 80}]
    await api.post(services, {"metadata": {"name": "any"}, "spec": {"type": "NodePort", "ports": ports}})
    named = {"metadata": {"name": "named"}, "spec": {"clusterIP": "10.96.0.250", "ports": ports}}
    assert (await api.post(services, named)).status == 201
    assert (await api.post(services, {**named, "metadata": {"name": "late"}})).status == 422
    after = (await api.get("/metrics")).data.decode()

    def more(name: str, **labels: str) -> float:
        return sum(samples_of(after, name, **labels).values()) - sum(samples_of(before, name, **labels).values())

    cidr = "10.96.0.0/16"
    assert more(f"{ips}_allocated_ips", cidr=cidr) == 2 == -more(f"{ips}_available_ips", cidr=cidr)
    assert more(f"{ips}_allocation_total", cidr=cidr, scope="dynamic") == 1
    assert more(f"{ips}_allocation_total", cidr=cidr, scope="static") == 1
    assert more(f"{ips}_allocation_errors_total", cidr=cidr, scope="static") == 1
    assert more(f"{ips}_allocation_duration_seconds_count", cidr=cidr) == 2
    assert more("kube_apiserver_nodeport_allocator_allocated_ports") == 1
    assert more("kube_apiserver_nodeport_allocator_allocation_total", scope="dynamic") == 1
    assert samples_of(after, f"{ips}_allocated_ips").keys() == {f'{{cidr="{cidr}"}}'}
    for name in ("any", "named"):
        await api.delete(f"{services}/{name}")


async def test_judgements_on_pods_are_counted(api):
    async def count(**labels: str) -> float:
        about = {"request_operation": "create", "resource": "pod", "subresource": ""}
        return await total(api, "pod_security_evaluations_total", **about, **labels)

    baseline = {"policy_level": "baseline", "policy_version": "v1.30", "mode": "enforce"}
    free = {"policy_level": "privileged", "policy_version": "latest", "decision": "allow", "mode": "enforce"}
    allowed, denied = await count(decision="allow", **baseline), await count(decision="deny", **baseline)
    unasked = await count(**free)
    pods = "/api/v1/namespaces/{ns}/pods"
    await api.post(pods, api.pod("free"))
    labels = {
        f"pod-security.kubernetes.io/enforce{end}": value for end, value in (("", "baseline"), ("-version", "v1.30"))
    }
    await api.patch("/api/v1/namespaces/{ns}", {"metadata": {"labels": labels}})
    assert (await api.post(pods, api.pod("good"))).status == 201
    assert (await api.post(pods, api.pod("bad", hostNetwork=True))).status == 403
    assert await count(**free) == unasked + 1
    assert await count(decision="allow", **baseline) == allowed + 1
    assert await count(decision="deny", **baseline) == denied + 1


async def test_uses_of_tokens_are_counted(api):
    made = await api.post("/api/v1/namespaces/{ns}/serviceaccounts/default/token", {"spec": {}})
    bearer = {"Authorization": f"Bearer {made.json['status']['token']}"}
    before = await total(api, "serviceaccount_valid_tokens_total")
    await api.get("/version", headers=bearer, anonymous=True)
    assert await total(api, "serviceaccount_valid_tokens_total") == before + 1
    assert await total(api, "serviceaccount_legacy_tokens_total") == 0


async def test_lists_sizes_and_summaries(api):
    about = {"group": "", "resource": "configmaps"}
    size, lists = "apiserver_resource_size_estimate_bytes", "apiserver_watch_cache_consistent_read_total"
    before, read = await total(api, size, **about), await total(api, lists, **about)
    stored = await api.post(CONFIGMAPS, api.configmap("sized", data={"k": "v" * 1000}))
    assert await total(api, size, **about) == before + len(stored.data.strip())
    await api.get(CONFIGMAPS)
    await api.get(f"{CONFIGMAPS}?resourceVersion=0")
    assert await total(api, lists, **about) == read + 1
    await api.ask("DELETE", f"{CONFIGMAPS}/sized")
    assert await total(api, size, **about) == before
    text = (await api.get("/metrics")).data.decode()
    step = "apiserver_admission_step_admission_duration_seconds"
    created = {"operation": "CREATE", "type": "validate", "rejected": "false"}
    assert samples_of(text, f"{step}_summary_count", **created) == samples_of(text, f"{step}_count", **created)
    for name in ("authentication", "authorization"):
        [passed] = samples_of(text, "apiserver_request_filter_duration_seconds_count", filter=name).values()
        assert passed == sum(samples_of(text, f"{name}_duration_seconds_count").values())
    assert await total(api, "apiserver_client_certificate_expiration_seconds_count") > 0


async def test_what_definitions_and_their_rules_take(api):
    group = f"{api.namespace}.example.com"
    schema = {"type": "object", "x-kubernetes-validations": [{"rule": "self.metadata.name != 'x'"}]}
    spec = {
        "group": group,
        "scope": "Cluster",
        "names": {"plural": "things", "kind": "Thing"},
        "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
    }
    compiled, ran = (
        "apiserver_cel_compilation_duration_seconds_count",
        "apiserver_cel_evaluation_duration_seconds_count",
    )
    before = await total(api, compiled), await total(api, ran)
    name = f"things.{group}"
    definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    assert (await api.post(definitions, {"metadata": {"name": name}, "spec": spec})).status == 201
    anew = "apiextensions_openapi_v3_regeneration_count"
    await counted(api, anew, crd=name, reason="add", version="v1")
    body = {"apiVersion": f"{group}/v1", "kind": "Thing", "metadata": {"name": "x"}}
    assert (await api.post(f"/apis/{group}/v1/things", body)).status == 422
    assert await total(api, compiled) > before[0]
    assert await total(api, ran) > before[1]
    await api.ask("DELETE", f"{definitions}/{name}")
    await counted(api, anew, crd=name, reason="remove")
    assert await total(api, "apiextensions_openapi_v2_regeneration_count", crd=name, reason="add") == 1


async def test_tokens_are_verified_once(api):
    accounts = "/api/v1/namespaces/{ns}/serviceaccounts"
    await api.post(accounts, {"metadata": {"name": "a"}})
    token = (await api.post(f"{accounts}/a/token", {"spec": {}})).json["status"]["token"]
    name = "authentication_token_cache"
    hits, misses = [await total(api, f"{name}_request_total", status=status) for status in ("hit", "miss")]
    verified = await total(api, f"{name}_fetch_total", status="ok")
    decided = await total(api, "apiserver_authorization_decisions_total", type="RBAC", decision="allowed")
    for _ in range(3):
        assert (await api.get("/version", headers={"Authorization": f"Bearer {token}"}, anonymous=True)).status == 200
        assert (await api.get("/api", headers={"Authorization": f"Bearer {token}"}, anonymous=True)).status == 200
    assert await total(api, f"{name}_request_total", status="hit") == hits + 5
    assert await total(api, f"{name}_request_total", status="miss") == misses + 1
    assert await total(api, f"{name}_fetch_total", status="ok") == verified + 1
    assert await total(api, f"{name}_request_duration_seconds_count", status="miss") >= verified + 1
    assert await total(api, "apiserver_authorization_decisions_total", type="RBAC", decision="allowed") >= decided + 3
