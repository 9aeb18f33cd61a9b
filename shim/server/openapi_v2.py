"""OpenAPI version 2 says the same as version 3 in another form: bodies are parameters, and parameters are shared."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import orjson

Document = dict[str, Any]


def paths(items: Document) -> tuple[Document, Document]:
    """Paths in the form of version 2, and the parameters they share, by the names they are referred to by."""
    shared: Document = {}
    return {address: _item(item, shared) for address, item in items.items()}, shared


def _item(item: Document, shared: Document) -> Document:
    converted: Document = {}
    for method, operation in item.items():
        if method == "parameters":
            converted[method] = [_share(_parameter(each), shared) for each in operation]
            continue
        kept = {key: value for key, value in operation.items() if key not in ("requestBody", "parameters", "responses")}
        parameters = [_parameter(each) for each in operation.get("parameters", ())]
        body = operation.get("requestBody")
        if body:
            (schema,) = {orjson.dumps(each["schema"]) for each in body["content"].values()}
            required = {"required": True} if body.get("required") else {}
            parameters.insert(0, {"name": "body", "in": "body", **required, "schema": orjson.loads(schema)})
        kept["responses"] = {code: _response(answer) for code, answer in operation["responses"].items()}
        kept["produces"] = list(operation["responses"]["200"]["content"])
        anything = ["*/*"] if "x-kubernetes-action" in operation else kept["produces"]
        kept["consumes"] = list(body["content"]) if body else anything
        kept["schemes"] = ["https"]
        if parameters:
            kept["parameters"] = [_share(each, shared) for each in parameters]
        converted[method] = kept
    return converted


def _response(answer: Document) -> Document:
    content = answer.get("content")
    schema = {"schema": next(iter(content.values()))["schema"]} if content else {}
    return {"description": answer["description"], **schema}


def _parameter(parameter: Document) -> Document:
    return {**{key: value for key, value in parameter.items() if key != "schema"}, **parameter["schema"]}


def _share(parameter: Document, shared: Document) -> Document:
    """A reference to a parameter that many operations have; the names of single kinds stay where they are."""
    name = parameter["name"]
    meta = "io.k8s.apimachinery" in parameter.get("schema", {}).get("$ref", "")
    if name == "name" or (name == "body" and not meta):
        return parameter
    digest = hashlib.sha256(orjson.dumps(parameter, option=orjson.OPT_SORT_KEYS)).digest()
    key = f"{name}-{base64.urlsafe_b64encode(digest[:6]).decode()}"
    shared[key] = parameter
    return {"$ref": f"#/parameters/{key}"}
