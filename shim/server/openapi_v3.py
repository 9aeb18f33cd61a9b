"""OpenAPI version 3: what it says in another form than version 2, and the documents of servers that have only that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

Document = dict[str, Any]
_METHODS = ("get", "put", "post", "delete", "options", "head", "patch")
_OPERATION = ("description", "externalDocs", "tags", "summary", "deprecated", "operationId")
_PARAMETER = ("name", "description", "in", "required", "allowEmptyValue")
_SIMPLE = ("type", "format", "uniqueItems")


def of_version_two(document: Mapping[str, Any]) -> Document:
    """A document of version 2 in the form of version 3, as far as that can be told (upstream calls it lossy)."""
    components: Document = {"schemas": document.get("definitions") or {}}
    if security := document.get("securityDefinitions"):
        kept = ("type", "description", "name", "in")
        components["securitySchemes"] = {
            name: {key: scheme[key] for key in kept if key in scheme} for name, scheme in security.items()
        }
    paths = {path: _item(item) for path, item in (document.get("paths") or {}).items()}
    made = {"openapi": "3.0.0", "info": document.get("info") or {}, "paths": paths, "components": components}
    return finished(made)


def finished(document: Document) -> Document:
    """A document whose schemas are still those of version 2."""
    encoded = orjson.dumps(document).replace(b'"#/definitions/', b'"#/components/schemas/')
    made: Document = orjson.loads(encoded)
    for schema in made["components"]["schemas"].values():
        _wrap(schema)
    return made


def _wrap(schema: Any) -> None:
    """Version 3 lets nothing stand beside a reference, so that references with a description are wrapped."""
    if not isinstance(schema, dict):
        return
    for key in ("items", "additionalProperties", "not"):
        _wrap(schema.get(key))
    for key in ("allOf", "anyOf", "oneOf"):
        for each in schema.get(key, ()):
            _wrap(each)
    for each in schema.get("properties", {}).values():  # one of which may be called "$ref"
        _wrap(each)
    if "$ref" in schema and len(schema) > 1:
        schema["allOf"] = [{"$ref": schema.pop("$ref")}]


# --- from version 2 ---------------------------------------------------------------------------------------------------


def _item(item: Mapping[str, Any]) -> Document:
    made = {**_extensions(item), **{method: _operation(item[method]) for method in _METHODS if method in item}}
    if parameters := item.get("parameters"):
        made["parameters"] = [_parameter(each) for each in parameters]
    return made


def _operation(operation: Mapping[str, Any]) -> Document:
    made = {**_extensions(operation), **{key: operation[key] for key in _OPERATION if key in operation}}
    parameters = []
    for each in operation.get("parameters") or ():
        if each.get("in") == "body":
            made["requestBody"] = {"content": _content(each["schema"], operation.get("consumes"))}
        else:
            parameters.append(_parameter(each))
    if parameters:
        made["parameters"] = parameters
    answers = operation.get("responses") or {}
    made["responses"] = {code: _response(each, operation.get("produces")) for code, each in answers.items()}
    return made


def _response(answer: Mapping[str, Any], produces: Iterable[str] | None) -> Document:
    made = {**_extensions(answer), "description": answer.get("description") or ""}
    if schema := answer.get("schema"):
        made["content"] = _content(schema, produces)
    return made


def _content(schema: Any, media: Iterable[str] | None) -> Document:
    return {each: {"schema": schema} for each in media or ()}


def _parameter(parameter: Mapping[str, Any]) -> Document:
    """The type of a parameter stands in a schema of its own."""
    made = {**_extensions(parameter), **{key: parameter[key] for key in _PARAMETER if key in parameter}}
    simple = {key: parameter[key] for key in _SIMPLE if key in parameter}
    return {**made, "schema": parameter.get("schema") or simple}


def _extensions(value: Mapping[str, Any]) -> Document:
    return {key: each for key, each in value.items() if key.startswith("x-")}
