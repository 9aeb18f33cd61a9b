from shim.client import resource as r
from shim.controllers import namespace as namespace_module
from shim.controllers.namespace import NamespaceController
from shim.controllers.root_ca import RootCaController
from shim.controllers.service_accounts import ServiceAccountController
from shim.controllers.tests.cluster import Cluster, cluster

CERTIFICATE = "kube-root-ca.crt"


async def make_namespace(c: Cluster, name: str) -> None:
    await c.client.create(r.NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})


async def test_a_new_namespace_is_furnished_and_stays_so(tmp_path):
    async with cluster(tmp_path, account=False) as c:
        await c.control(ServiceAccountController, RootCaController)
        await make_namespace(c, "team")
        account = await c.until(r.SERVICEACCOUNTS, "default", bool, "team")
        published = await c.until(r.CONFIGMAPS, CERTIFICATE, bool, "team")
        assert published["data"]["ca.crt"] == c.client.access.ca.decode()

        await c.client.delete(r.SERVICEACCOUNTS, "default", "team")
        await c.client.patch(r.CONFIGMAPS, CERTIFICATE, {"data": {"ca.crt": "forged"}}, "team")

        def another(found):
            return found and found["metadata"]["uid"] != account["metadata"]["uid"]

        await c.until(r.SERVICEACCOUNTS, "default", another, "team")
        await c.until(r.CONFIGMAPS, CERTIFICATE, lambda found: found["data"] == published["data"], "team")


async def test_a_namespace_goes_when_everything_in_it_is_gone(tmp_path):
    async with cluster(tmp_path) as c:
        await make_namespace(c, "team")
        await c.add_config_map("plain", "team")
        await c.add_config_map("held", "team", finalizers=["example.com/f"])
        await c.control(NamespaceController)
        await c.client.delete(r.NAMESPACES, "team")

        def says(namespace):
            return {each["type"]: each for each in namespace["status"].get("conditions") or ()}

        held = says(await c.until(r.NAMESPACES, "team", lambda found: "NamespaceContentRemaining" in says(found)))
        remaining, finalizers = held["NamespaceContentRemaining"], held["NamespaceFinalizersRemaining"]
        assert remaining["message"] == "Some resources are remaining: configmaps. has 1 resource instances"
        assert finalizers["message"] == (
            "Some content in the namespace has finalizers remaining: example.com/f in 1 resource instances"
        )
        assert held["NamespaceDeletionContentFailure"]["status"] == "False"

        await c.client.patch(r.CONFIGMAPS, "held", {"metadata": {"finalizers": None}}, "team")
        await c.until(r.NAMESPACES, "team", lambda found: found is None)


async def test_what_cannot_be_asked_of_an_extension_server_holds_the_namespace(tmp_path):
    service = {"namespace": "team", "name": "away"}
    spec = {"group": "away.example.com", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1}
    away = {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": "v1.away.example.com"},
        "spec": {**spec, "service": service},
    }
    async with cluster(tmp_path) as c:
        await make_namespace(c, "team")
        await c.add_config_map("plain", "team")
        await c.client.create(r.APISERVICES, away)
        await c.until(r.APISERVICES, "v1.away.example.com", lambda found: found.get("status"))
        await c.control(NamespaceController)
        await c.client.delete(r.NAMESPACES, "team")

        def failure(namespace):
            conditions = namespace["status"].get("conditions") or ()
            return next((each for each in conditions if each["type"] == "NamespaceDeletionDiscoveryFailure"), None)

        told = failure(await c.until(r.NAMESPACES, "team", failure))
        assert (told["status"], told["reason"]) == ("True", "DiscoveryFailed")
        assert told["message"] == (
            "Discovery failed for some groups, 1 failing: unable to retrieve the complete list of server APIs: "
            "away.example.com/v1: stale GroupVersion discovery: away.example.com/v1"
        )
        await c.until(r.CONFIGMAPS, "plain", lambda found: found is None, "team")  # the rest is not held up
        await c.client.delete(r.APISERVICES, "v1.away.example.com")
        await c.until(r.NAMESPACES, "team", lambda found: found is None)


async def test_pods_go_before_everything_else_and_the_rest_follows_the_last(tmp_path, monkeypatch):
    monkeypatch.setattr(namespace_module, "FIRST_LOOK", 3600.0)  # only the pods' going can tell
    async with cluster(tmp_path) as c:
        await make_namespace(c, "team")
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
        await c.client.create(r.SERVICEACCOUNTS, account, "team")
        await c.add_node("n1")
        spec = {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}]}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec}
        await c.client.create(r.PODS, pod, "team")
        await c.add_config_map("settings", "team")
        await c.control(NamespaceController)
        await c.client.delete(r.NAMESPACES, "team")

        stopping = await c.until(r.PODS, "p", lambda found: found["metadata"].get("deletionTimestamp"), "team")
        assert stopping["metadata"]["deletionGracePeriodSeconds"] == 30
        assert await c.client.get(r.CONFIGMAPS, "settings", "team")

        def counted(found):
            return any(each["type"] == "NamespaceContentRemaining" for each in found["status"].get("conditions") or ())

        told = await c.until(r.NAMESPACES, "team", counted)
        assert {each["status"] for each in told["status"]["conditions"]} == {"False"}  # it has time to end
        await c.client.delete(r.PODS, "p", "team", grace_period=0)  # as the kubelet does when it has stopped it
        await c.until(r.NAMESPACES, "team", lambda found: found is None)


async def test_a_pod_that_does_not_end_in_its_time_is_a_failure(tmp_path):
    async with cluster(tmp_path) as c:
        await make_namespace(c, "team")
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
        await c.client.create(r.SERVICEACCOUNTS, account, "team")
        await c.add_node("n1")
        spec = {"nodeName": "n1", "terminationGracePeriodSeconds": 1, "containers": [{"name": "c", "image": "i"}]}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec}
        await c.client.create(r.PODS, pod, "team")
        await c.control(NamespaceController)
        await c.client.delete(r.NAMESPACES, "team")

        def failed(found):
            conditions = found["status"].get("conditions") or ()
            return [each for each in conditions if each["reason"] == "ContentDeletionFailed"]

        (condition,) = failed(await c.until(r.NAMESPACES, "team", failed))
        assert condition["message"] == (
            "Failed to delete all resource types, 1 remaining: "
            "unexpected items still remain in namespace: team for gvr: /v1, Resource=pods"
        )
        await c.client.delete(r.PODS, "p", "team", grace_period=0)
        await c.until(r.NAMESPACES, "team", lambda found: found is None)
