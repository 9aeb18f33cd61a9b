"""What the server says of itself: discovery, OpenAPI, health, metrics, and paths that are not there."""

from __future__ import annotations


async def test_groups_and_resources(api):
    groups = (await api.get("/apis")).json["groups"]
    assert "apps" in [group["name"] for group in groups]
    apps = (await api.get("/apis/apps/v1")).json
    assert apps["kind"] == "APIResourceList"
    names = [resource["name"] for resource in apps["resources"]]
    assert {"deployments", "deployments/scale", "deployments/status"} <= set(names)


async def test_aggregated_discovery(api):
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
    answer = await api.get("/apis", accept=accept)
    assert answer.headers["Content-Type"] == "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    assert answer.json["kind"] == "APIGroupDiscoveryList"


async def test_openapi_v3_describes_a_group(api):
    paths = (await api.get("/openapi/v3")).json["paths"]
    address = paths["apis/apps/v1"]["serverRelativeURL"]
    document = await api.get(address)
    assert document.headers["Cache-Control"] == "public, immutable"
    schemas = document.json["components"]["schemas"]
    deployment = schemas["io.k8s.api.apps.v1.Deployment"]
    assert deployment["x-kubernetes-group-version-kind"][0]["kind"] == "Deployment"
    assert "io.k8s.api.core.v1.PodSpec" in schemas
    patch = document.json["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"]
    assert "fieldValidation" in [parameter["name"] for parameter in patch["parameters"]]


async def test_openapi_v3_tells_what_go_declares(api):
    schemas = (await api.get("/openapi/v3/api/v1")).json["components"]["schemas"]
    port = schemas["io.k8s.api.core.v1.ServicePort"]["properties"]
    assert (port["protocol"]["default"], port["protocol"]["enum"]) == ("TCP", ["SCTP", "TCP", "UDP"])
    assert (port["port"]["default"], "default" in port["nodePort"]) == (0, False)
    assert ' - `"TCP"` streams of bytes.' in port["protocol"]["description"]
    version = (await api.get("/openapi/v3/version")).json["components"]["schemas"]
    assert version["io.k8s.apimachinery.pkg.version.Info"]["properties"]["major"]["default"] == ""


async def test_openapi_v2_has_every_definition(api):
    document = (await api.get("/openapi/v2")).json
    assert document["swagger"] == "2.0"
    assert "io.k8s.api.core.v1.Pod" in document["definitions"]
    assert "oneOf" not in document["definitions"]["io.k8s.apimachinery.pkg.api.resource.Quantity"]
    assert (await api.get("/openapi/v2", accept="text/html")).status == 406


async def test_openapi_v2_as_kubectl_reads_it(api):
    """It asks in protobuf before it applies a List; either spelling of the type is answered with the newer one."""
    newer = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
    answers = [await api.get("/openapi/v2", accept=accept) for accept in (newer, newer.replace("v2.v1", "v2@v1"))]
    for answer in answers:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == newer
        assert answer.headers["Content-Encoding"] == "gzip"
        assert answer.headers["Vary"] == "Accept, Accept-Encoding"  # one address, several documents
        assert answer.data.startswith(b"\x0a\x032.0")  # field 1, swagger
        assert b"io.k8s.api.core.v1.Pod" in answer.data
    etag = answers[0].headers["ETag"]
    assert (await api.get("/openapi/v2", accept=newer, headers={"If-None-Match": etag})).status == 304
    assert (await api.get("/openapi/v2", headers={"If-None-Match": etag})).status == 200


async def test_health_in_detail(api):
    answer = await api.get("/readyz?verbose")
    assert answer.data.startswith(b"[+]ping ok\n")
    assert answer.data.endswith(b"readyz check passed\n")


async def test_metrics_count_under_upstreams_names(api):
    await api.get("/api/v1/namespaces/{ns}/configmaps")
    await api.post("/api/v1/namespaces/{ns}/configmaps", api.configmap("a"))
    await api.post("/api/v1/namespaces/nope/configmaps", api.configmap("a"))
    await api.watch("/api/v1/namespaces/{ns}/configmaps")
    await api.get("/api/v1/namespaces/{ns}/madeup/thing")
    text = (await api.get("/metrics")).data.decode()
    samples = []
    for line in text.splitlines():
        name, _, rest = line.partition("{")
        samples.append((name, *rest.partition("}")[0].split(",")))

    def has(metric, **labels):
        wanted = {f'{key}="{value}"' for key, value in labels.items()}
        return any(sample[0] == metric and wanted <= set(sample[1:]) for sample in samples)

    where = {"group": "", "resource": "configmaps", "version": "v1"}
    assert has("apiserver_request_total", verb="LIST", scope="namespace", code="200", dry_run="", **where)
    assert has("apiserver_request_total", verb="POST", scope="resource", code="201", component="apiserver", **where)
    assert has("apiserver_request_total", verb="WATCH", code="200", **where)
    assert has("apiserver_request_duration_seconds_bucket", verb="LIST", le="0.005", **where)
    assert has("apiserver_response_sizes_count", verb="LIST", **where)
    assert has("apiserver_current_inflight_requests", request_kind="mutating")
    assert has("apiserver_longrunning_requests", verb="WATCH", **where)
    assert has("apiserver_watch_events_total", **where)
    assert has("apiserver_storage_objects", resource="configmaps")
    assert has("etcd_request_duration_seconds_count", operation="create", group="", resource="configmaps")
    refused = {"name": "NamespaceLifecycle", "operation": "CREATE", "rejected": "true"}
    assert has("apiserver_admission_controller_admission_duration_seconds_count", **refused)
    step = {"operation": "CREATE", "type": "admit", "rejected": "true"}
    assert has("apiserver_admission_step_admission_duration_seconds_bucket", le="2.5", **step)
    assert has("apiserver_request_sli_duration_seconds_bucket", verb="LIST", le="0.05", **where)
    assert not has("apiserver_request_sli_duration_seconds_bucket", verb="LIST", le="0.005", **where)
    assert has("apiserver_response_sizes_bucket", verb="LIST", le="1e+06", **where)
    assert has("authentication_attempts", result="success")
    assert has("authenticated_user_requests", username="other")
    assert has("authentication_duration_seconds_bucket", result="success", le="0.001")
    assert has("authorization_attempts_total", result="allowed")
    written = {"group": "", "resource": "configmaps", "verb": "create"}
    assert has("apiserver_request_body_size_bytes_bucket", le="50000", **written)
    assert has("field_validation_request_duration_seconds_count", field_validation="")
    assert has("apiserver_watch_events_sizes_bucket", le="1024", **where)
    assert has("apiserver_cache_list_total", group="", index="", resource="configmaps")
    assert has("apiserver_cache_list_returned_objects_total", group="", resource="configmaps")
    assert has("apiserver_watch_cache_events_received_total", group="", resource="configmaps")
    assert "process_resident_memory_bytes " in text
    assert "process_virtual_memory_max_bytes " in text
    assert "madeup" not in text


async def test_metrics_tell_of_refusals_and_of_what_is_deprecated(api):
    await api.get("/api/v1/namespaces/{ns}/endpoints")
    assert (await api.get("/api/v1/pods", anonymous=True)).status == 403
    assert (await api.get("/api/v1/pods", anonymous=True, headers={"Authorization": "Bearer nonsense"})).status == 401
    text = (await api.get("/metrics")).data.decode()
    deprecated = 'group="",removed_release="",resource="endpoints",subresource="",version="v1"'
    lines = {line.partition(" ")[0] for line in text.splitlines()}
    assert f"apiserver_requested_deprecated_apis{{{deprecated}}}" in {_sorted(line) for line in lines}
    assert 'authentication_attempts{result="failure"}' in lines
    assert 'authorization_attempts_total{result="denied"}' in lines
    assert "# TYPE authentication_attempts counter" in text


def _sorted(sample):
    """A sample's name and labels, these in order."""
    name, _, labels = sample.rstrip("}").partition("{")
    return f"{name}{{{','.join(sorted(labels.split(',')))}}}"


async def test_documents_have_tags(api):
    for path, accept in (
        ("/apis", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"),
        ("/openapi/v2", "application/json"),
        ("/openapi/v3/apis/apps/v1", "application/json"),
    ):
        whole = await api.get(path, accept=accept)
        assert (whole.status, whole.headers["Vary"].partition(",")[0]) == (200, "Accept")
        again = await api.get(path, accept=accept, headers={"If-None-Match": whole.headers["ETag"]})
        assert (again.status, again.data) == (304, b"")


async def test_people_get_it_indented(api):
    await api.post("/api/v1/namespaces/{ns}/configmaps", api.configmap("a"))
    one = "/api/v1/namespaces/{ns}/configmaps/a"
    machine = await api.get(one)
    for answer in (await api.get(f"{one}?pretty=true"), await api.get(one, headers={"User-Agent": "curl/8.0"})):
        assert answer.json == machine.json
        assert answer.data.startswith(b'{\n  "kind": "ConfigMap",\n')
        assert answer.data.endswith(b"\n}")
    plain = (await api.get(f"{one}?pretty=false", headers={"User-Agent": "curl/8.0"})).data
    assert plain.index(b"\n") == len(plain) - 1, "one line, and an end to it"
    assert (await api.get("/api/v1/namespaces/{ns}/configmaps")).data.endswith(b"]}\n")
    assert (await api.get("/apis/apps", accept="application/json, */*")).data.endswith(b"}}\n")
    missing = await api.get(f"{one}x", headers={"User-Agent": "curl/8.0"})
    assert missing.data.startswith(b'{\n  "kind": "Status",\n')


async def test_paths_that_name_nothing(api):
    assert (await api.get("/nope")).data == b"404 page not found\n"
    assert (await api.get("/apis/nope.example.com/v1")).data == b"404 page not found\n"
    for path in ("/api/v1/nopes", "/api/v1/namespaces/{ns}/namespaces", "/api/v1/namespaces/{ns}/namespaces/{ns}"):
        missing = await api.get(path)
        assert missing.message == "the server could not find the requested resource"
    log = await api.get("/api/v1/namespaces/{ns}/pods/x/log", accept="application/cbor")
    assert log.message.startswith("406: Not Acceptable\n\nAvailable representations: text/plain, application/json")
    wrong = await api.post("/api/v1/namespaces/{ns}/configmaps/a", {})
    assert wrong.status == 405
    assert wrong.message == "the server does not allow this method on the requested resource"


async def test_what_every_cluster_has(api):
    for path in (
        "/api/v1/namespaces/kube-system",
        "/apis/rbac.authorization.k8s.io/v1/clusterroles/cluster-admin",
        "/apis/scheduling.k8s.io/v1/priorityclasses/system-node-critical",
    ):
        assert (await api.get(path)).status == 200
