"""What do the APIs of metrics tell? Resource metrics of pods; custom metrics of pods and objects; external metrics.

None of them is served here: a metrics server or an adapter does, behind an APIService. Texts are upstream's.
"""

from __future__ import annotations

import datetime
from urllib.parse import quote, urlencode

import orjson

from shim.api import quantity
from shim.api.meta import GVR, Object, parse_time, split_api_version
from shim.api.status import ApiError
from shim.client import Client
from shim.controllers.autoscaler_metrics import Measured, NoMetrics, measured
from shim.controllers.scales import Scales

POD_METRICS = GVR("metrics.k8s.io", "v1beta1", "pods")
CUSTOM, CUSTOM_VERSIONS = "custom.metrics.k8s.io", ("v1beta2", "v1beta1")
EXTERNAL = "external.metrics.k8s.io"
WINDOW = datetime.timedelta(minutes=1)  # of a custom metric that does not say
NOT_SERVED = "the server could not find the requested resource"  # what clients make of a page that is not there


class MetricsApis:
    """Asks whoever serves metrics. Every method raises NoMetrics."""

    def __init__(self, client: Client, scales: Scales) -> None:
        self._client, self._scales = client, scales

    async def resource(self, namespace: str, selector: str, resource: str, container: str) -> dict[str, Measured]:
        """What pods use of a resource, by their names."""
        failed = f"unable to get metrics for resource {resource}:"
        try:
            answer = await self._client.list(POD_METRICS, namespace, label_selector=selector)
        except ApiError as error:
            cause = NOT_SERVED if error.code == 404 else error.message
            told = f"{failed} unable to fetch metrics from resource metrics API: {cause}"
            raise NoMetrics(f"{told} (get pods.metrics.k8s.io)") from error
        if not answer["items"]:
            raise NoMetrics(f"{failed} no metrics returned from resource metrics API")
        return measured(answer["items"], resource, container)

    async def pods(self, namespace: str, selector: str, metric: str, metric_selector: str) -> dict[str, Measured]:
        """A custom metric of pods, by their names."""
        try:
            asked = {"labelSelector": selector, "metricLabelSelector": metric_selector}
            items = await self._custom(f"namespaces/{namespace}/pods/*/{quote(metric)}", asked)
            if not items:
                raise NoMetrics("no metrics returned from custom metrics API")
        except NoMetrics as error:
            raise NoMetrics(f"unable to get metric {metric}: {error}") from error
        return {
            item["describedObject"]["name"]: Measured(
                quantity.parse(item["value"]).milli, parse_time(item["timestamp"]), _window(item)
            )
            for item in items
        }

    async def object(self, namespace: str, described: Object, metric: str, metric_selector: str) -> int:
        """A custom metric of one object, in thousandths."""
        kind, name = described["kind"], described["name"]
        try:
            group = split_api_version(described.get("apiVersion") or "")[0]
            where = f"metrics/{quote(metric)}"
            if (group, kind) != ("", "Namespace"):
                where = f"{await self._resource_of(group, kind)}/{quote(name)}/{quote(metric)}"
            items = await self._custom(f"namespaces/{namespace}/{where}", {"metricLabelSelector": metric_selector})
            if len(items) != 1:
                told = f"the custom metrics API server returned {len(items)} results when we asked for exactly one"
                raise NoMetrics(f"unable to fetch metrics from custom metrics API: {told}")
        except NoMetrics as error:
            raise NoMetrics(f"unable to get metric {metric}: {kind} on {namespace} {name}/{error}") from error
        return quantity.parse(items[0]["value"]).milli

    async def external(self, namespace: str, metric: str, selector: str, told_selector: str) -> int:
        """The sum of an external metric's values, in thousandths. ``told_selector``: as messages show it."""
        failed = f"unable to get external metric {namespace}/{metric}/{told_selector}:"
        path = f"/apis/{EXTERNAL}/v1beta1/namespaces/{namespace}/{quote(metric)}"
        try:
            items = await self._items(path, {"labelSelector": selector}, f"{NOT_SERVED} (get {metric}.{EXTERNAL})")
        except ApiError as error:
            told = f"unable to fetch metrics from external metrics API: {error.message}"
            raise NoMetrics(f"{failed} {told}") from error
        if not items:
            raise NoMetrics(f"{failed} no metrics returned from external metrics API")
        return sum(quantity.parse(item["value"]).milli for item in items)

    async def _custom(self, path: str, asked: dict[str, str]) -> list[Object]:
        try:
            found = {each["version"] for each in await self._versions(CUSTOM)}
            version = next((each for each in CUSTOM_VERSIONS if each in found), None)
            if version is None:
                raise NoMetrics(f"no custom metrics API ({CUSTOM}) registered")
            return await self._items(f"/apis/{CUSTOM}/{version}/{path}", asked, NOT_SERVED)
        except (ApiError, NoMetrics) as error:
            told = error.message if isinstance(error, ApiError) else error
            raise NoMetrics(f"unable to fetch metrics from custom metrics API: {told}") from error

    async def _versions(self, group: str) -> list[Object]:
        try:
            return list((await self._ask(f"/apis/{group}", "")).get("versions") or ())
        except ApiError as error:
            if error.code != 404:
                raise
            return []

    async def _resource_of(self, group: str, kind: str) -> str:
        served = await self._scales.served(group, kind)
        if served is None:
            whole = f"{kind}.{group}" if group else kind
            told = f'no matches for kind "{kind}" in group "{group}"'
            why = f"unable to map kind {whole} to resource: {told}"
            raise NoMetrics(f"unable to fetch metrics from custom metrics API: {why}")
        return served.gvr.group_resource

    async def _items(self, path: str, asked: dict[str, str], missing: str) -> list[Object]:
        query = urlencode({name: value for name, value in asked.items() if value})
        return list((await self._ask(f"{path}?{query}" if query else path, missing)).get("items") or ())

    async def _ask(self, path: str, missing: str) -> Object:
        """The answer at a path. Raises ApiError; ``missing`` is its text where nobody answers with a Status."""
        code, body = await self._client.raw("GET", path)
        try:
            answer = orjson.loads(body)
        except orjson.JSONDecodeError:
            answer = None
        if not isinstance(answer, dict):
            raise ApiError(code if code != 200 else 500, "NotFound", missing)
        if code != 200:
            raise ApiError.from_status(answer, code)
        return answer


def _window(item: Object) -> datetime.timedelta:
    told = item.get("windowSeconds", item.get("window"))
    return WINDOW if told is None else datetime.timedelta(seconds=float(told))
