from shim.client import resource as r
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
