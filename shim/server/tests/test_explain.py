"""What ``kubectl explain --recursive`` makes of the documents: every field of every kind has to have a type to show."""

from __future__ import annotations

import pytest
import pytest_asyncio

from shim.codec.definitions import load_schema
from shim.resources.table import RESOURCES
from shim.server.openapi import OpenApi
from shim.server.routes import Routes

VERSIONS = sorted({(row.group, row.version) for row in RESOURCES})
BASE = "#/components/schemas/"


def _lines(schema, schemas, level=0, above=()):
    """One line a field, as kubectl's template writes them; KeyError where it would break."""
    for name, field in sorted(schema.get("properties", {}).items()):
        target, type = _resolve(field, schemas)
        yield f"{'  ' * level}{name}\t<{type}>"
        inner = target
        while "items" in inner or isinstance(inner.get("additionalProperties"), dict):
            inner, _ = _resolve(inner.get("items") or inner["additionalProperties"], schemas)
        if id(inner) not in above:
            yield from _lines(inner, schemas, level + 1, (*above, id(inner)))


def _resolve(field, schemas):
    """A field's schema and the name of its type."""
    for each in (field, *field.get("allOf", ()), *field.get("oneOf", ()), *field.get("anyOf", ())):
        if "$ref" in each:
            assert isinstance(each["$ref"], str)
            name = each["$ref"].removeprefix(BASE)
            return schemas[name], name.rpartition(".")[2]
    if "items" in field:
        return field, f"[]{_resolve(field['items'], schemas)[1]}"
    if isinstance(field.get("additionalProperties"), dict):
        return field, f"map[string]{_resolve(field['additionalProperties'], schemas)[1]}"
    if "oneOf" in field:
        return field, "any of several"
    return field, field["type"]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def openapi():
    return OpenApi(Routes(RESOURCES), load_schema(), tuple)


@pytest.mark.parametrize(("group", "version"), VERSIONS)
async def test_every_field_of_every_kind_has_a_type(openapi, group, version):
    document = openapi._v3(f"apis/{group}/{version}" if group else f"api/{version}")
    schemas = document["components"]["schemas"]
    kinds = {
        gvk["kind"]: schema
        for schema in schemas.values()
        for gvk in schema.get("x-kubernetes-group-version-kind", ())
        if (gvk["group"], gvk["version"]) == (group, version)
    }
    for row in RESOURCES:
        if (row.group, row.version) == (group, version):
            lines = list(_lines(kinds[row.kind], schemas))
            assert {"apiVersion\t<string>", "kind\t<string>"} <= set(lines), row.kind


async def test_the_schema_of_schemas_has_a_field_that_is_called_as_a_reference(openapi):
    schemas = openapi._v3("apis/apiextensions.k8s.io/v1")["components"]["schemas"]
    props = next(schema for name, schema in schemas.items() if name.endswith(".JSONSchemaProps"))["properties"]
    assert props["$ref"] == {"type": "string"}
    assert props["allOf"]["type"] == "array"


async def test_paths_say_who_does_what_how(openapi):
    document = openapi._v3("apis/apps/v1")
    one = document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]
    assert one["get"]["operationId"] == "readAppsV1NamespacedDeployment"
    assert one["put"]["x-kubernetes-action"] == "put"
    assert sorted(one["patch"]["responses"]) == ["200", "201", "401"]
    assert [each["name"] for each in one["parameters"]] == ["name", "namespace", "pretty"]
    every = document["paths"]["/apis/apps/v1/deployments"]
    assert every["get"]["operationId"] == "listAppsV1DeploymentForAllNamespaces"
    assert "watch" in [each["name"] for each in every["parameters"]]
    scale = document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale"]["get"]
    kind = {"group": "autoscaling", "version": "v1", "kind": "Scale"}
    assert (scale["operationId"], scale["x-kubernetes-group-version-kind"]) == (
        "readAppsV1NamespacedDeploymentScale",
        kind,
    )


async def test_operations_have_names_of_their_own(openapi):
    document = openapi._v2()
    names = [
        operation["operationId"]
        for item in document["paths"].values()
        for method, operation in item.items()
        if method != "parameters"
    ]
    assert len(names) == len(set(names)) > 800
    shared = {
        each["$ref"].rpartition("/")[2]
        for item in document["paths"].values()
        for method, operation in item.items()
        for each in (operation if method == "parameters" else operation.get("parameters", ()))
        if "$ref" in each
    }
    assert shared == set(document["parameters"])


async def test_what_a_field_may_say_is_told(openapi):
    spec = openapi._v3("api/v1")["components"]["schemas"]["io.k8s.api.core.v1.PodSpec"]["properties"]
    assert spec["restartPolicy"]["enum"] == ["Always", "Never", "OnFailure"]
    assert '- `"OnFailure"`' in spec["restartPolicy"]["description"]
    # of a list's items it is said, but not told in words
    service = openapi._v3("api/v1")["components"]["schemas"]["io.k8s.api.core.v1.ServiceSpec"]
    families = service["properties"]["ipFamilies"]
    assert "IPv4" in families["items"]["enum"]
    assert "Possible" not in families["description"]
