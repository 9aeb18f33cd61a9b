"""Whatever happens in whatever order: owners, Services, quotas and volumes end as they should.

See ``test_faults`` for those that make pods.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable

from hypothesis import given
from hypothesis import strategies as st

from shim.api.meta import Object
from shim.client import resource as r
from shim.controllers.endpointslice import EndpointSliceController
from shim.controllers.garbage_collector import GarbageCollector
from shim.controllers.pod_readiness import is_active, is_deleted
from shim.controllers.replicaset import ReplicaSetController
from shim.controllers.resource_quota import ResourceQuotaController
from shim.controllers.tests.faulty import Faulty, Step, happen, often, on_pods, only_running, steps, story
from shim.controllers.tests.test_live import workload
from shim.controllers.volume_binder import VolumeBinder


@often
@given(steps("background", "foreground", "orphan", "adopt"), st.lists(st.sets(st.integers(0, 7)), max_size=7))
def test_what_nobody_owns_any_more_goes_and_nothing_else(plan: list[Step], owners: list[set[int]]) -> None:
    async def told(here: Faulty) -> None:
        made: list[Object] = []
        for number, mine in enumerate([set[int](), *owners]):
            references = [_reference(made[each]) for each in sorted(mine) if each < number]
            metadata = {"name": f"c{number}", "ownerReferences": references}
            body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
            made.append(await here.client.create(r.CONFIGMAPS, body, "default"))
        asked: set[str] = set()
        spared = False

        def going(propagation: str) -> Callable[[int], Awaitable[None]]:
            async def delete(number: int) -> None:
                nonlocal spared
                spared = spared or propagation == "Orphan"
                name = f"c{number % len(made)}"
                asked.add(name)
                await here.client.delete(r.CONFIGMAPS, name, "default", propagation=propagation)

            return delete

        async def adopt(number: int) -> None:
            owner, child = made[0], made[number % len(made)]
            if owner is not child:
                patch = {"metadata": {"ownerReferences": [_reference(owner)]}}
                await here.client.patch(r.CONFIGMAPS, child["metadata"]["name"], patch, "default")

        verbs = {name: going(name.capitalize()) for name in ("background", "foreground", "orphan")}
        await happen(here, plan, {**verbs, "adopt": adopt})

        def settled(left: list[Object]) -> bool:
            uids = {each["metadata"]["uid"] for each in left}
            return not any(
                is_deleted(each) or reference["uid"] not in uids
                for each in left
                if each["metadata"]["namespace"] == "default"
                for reference in [*(each["metadata"].get("ownerReferences") or ()), {"uid": each["metadata"]["uid"]}]
            )

        left = {each["metadata"]["name"] for each in await here.settles(r.CONFIGMAPS, settled)}
        free = {each["metadata"]["name"] for each in made if not each["metadata"].get("ownerReferences")}
        adopted = {f"c{number % len(made)}" for verb, number in plan if verb == "adopt"}
        assert free - asked - adopted <= left
        assert spared or adopted or not (asked & left)

    story([GarbageCollector], told)


def _reference(owner: Object) -> Object:
    metadata = owner["metadata"]
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "name": metadata["name"],
        "uid": metadata["uid"],
        "blockOwnerDeletion": True,
    }


@often
@given(steps("scale", "delete", "fail", "select"))
def test_slices_tell_of_every_pod_once(plan: list[Step]) -> None:
    async def told(here: Faulty) -> None:
        await here.client.create(r.REPLICASETS, workload("ReplicaSet", replicas=3), "default")
        ports = [{"port": 80, "targetPort": 8080}]
        service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}}
        await here.client.create(r.SERVICES, {**service, "spec": {"selector": {"app": "a"}, "ports": ports}}, "default")

        async def scale(number: int) -> None:
            await here.client.patch(r.REPLICASETS, "w", {"spec": {"replicas": number}}, "default")

        async def select(number: int) -> None:
            await here.client.patch(r.SERVICES, "s", {"spec": {"selector": {"app": "ab"[number % 2]}}}, "default")

        await happen(here, plan, {"scale": scale, "select": select, **on_pods(here)})
        wanted = (await here.client.get(r.REPLICASETS, "w", "default"))["spec"]["replicas"]
        pods = await here.settles(r.PODS, only_running(wanted))
        app = (await here.client.get(r.SERVICES, "s", "default"))["spec"]["selector"]["app"]
        addresses = sorted(pod["status"]["podIP"] for pod in pods if app == "a" and is_active(pod))

        def done(slices: list[Object]) -> bool:
            mine = [one for one in slices if one["metadata"]["labels"]["kubernetes.io/service-name"] == "s"]
            told = [each for one in mine for each in one.get("endpoints") or ()]
            return sorted(each["addresses"][0] for each in told) == addresses

        await here.settles(r.ENDPOINTSLICES, done)

    story([EndpointSliceController, ReplicaSetController], told)


@often
@given(steps("add", "remove", "limit"))
def test_a_quota_counts_what_is_there(plan: list[Step]) -> None:
    async def told(here: Faulty) -> None:
        quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"}}
        await here.client.create(r.RESOURCEQUOTAS, {**quota, "spec": {"hard": {"secrets": "3"}}}, "default")
        most = 3 + max((number for verb, number in plan if verb == "limit"), default=0)

        def too_many(secrets: list[Object]) -> str | None:
            mine = [each for each in secrets if each["metadata"]["namespace"] == "default"]
            return f"{len(mine)} secrets" if len(mine) > most else None

        async def add(number: int) -> None:
            for name in range(number):
                secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": f"s{name}"}}
                await here.client.create(r.SECRETS, secret, "default")

        async def remove(number: int) -> None:
            await here.client.delete(r.SECRETS, f"s{number}", "default")

        async def limit(number: int) -> None:
            await here.client.patch(r.RESOURCEQUOTAS, "q", {"spec": {"hard": {"secrets": str(number)}}}, "default")

        def counted(quotas: list[Object]) -> bool:
            return "used" in (quotas[0].get("status") or {}) if quotas else False

        async with here.observing(r.SECRETS, too_many):
            await here.settles(r.RESOURCEQUOTAS, counted)
            await happen(here, plan, {"add": add, "remove": remove, "limit": limit})
        there = str(len((await here.client.list(r.SECRETS, "default"))["items"]))
        hard = (await here.client.get(r.RESOURCEQUOTAS, "q", "default"))["spec"]["hard"]
        wanted = {"hard": hard, "used": {"secrets": there}}
        await here.settles(r.RESOURCEQUOTAS, lambda quotas: quotas[0].get("status") == wanted)

    story([ResourceQuotaController], told)


@often
@given(steps("volume", "claim", "let go", "take away"))
def test_a_volume_is_one_claims_and_the_claim_knows(plan: list[Step]) -> None:
    async def told(here: Faulty) -> None:
        size = {"storage": "1Gi"}
        common = {"accessModes": ["ReadWriteOnce"], "storageClassName": "none"}

        async def volume(number: int) -> None:
            spec = {**common, "capacity": size, "hostPath": {"path": "/x"}, "persistentVolumeReclaimPolicy": "Retain"}
            body = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": f"v{number}"}, "spec": spec}
            await here.client.create(r.PERSISTENTVOLUMES, body)

        async def ask(number: int) -> None:
            spec = {**common, "resources": {"requests": size}}
            body = {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {"name": f"c{number}"},
                "spec": spec,
            }
            await here.client.create(r.PERSISTENTVOLUMECLAIMS, body, "default")

        async def let_go(number: int) -> None:
            await here.client.delete(r.PERSISTENTVOLUMECLAIMS, f"c{number}", "default")

        async def take_away(number: int) -> None:
            await here.client.delete(r.PERSISTENTVOLUMES, f"v{number}")

        def shared(claims: list[Object]) -> str | None:
            names = Counter(claim["spec"].get("volumeName") for claim in claims if claim["spec"].get("volumeName"))
            alive = [name for name, count in names.items() if count > 1]
            return f"two claims of {alive}" if alive else None

        verbs = {"volume": volume, "claim": ask, "let go": let_go, "take away": take_away}
        async with here.observing(r.PERSISTENTVOLUMECLAIMS, shared):
            await happen(here, plan, verbs)
            volumes = (await here.client.list(r.PERSISTENTVOLUMES))["items"]
            names = {each["metadata"]["name"] for each in volumes}

            def consistent(claims: list[Object]) -> bool:
                phases = [(claim.get("status") or {}).get("phase") for claim in claims]
                lost = [claim for claim in claims if claim["spec"].get("volumeName") not in (None, *names)]
                return all(phases) and phases.count("Lost") == len(lost) and _bound_as_can_be(claims, volumes)

            claims = await here.settles(r.PERSISTENTVOLUMECLAIMS, consistent)
        for claim in claims:
            if claim["status"]["phase"] == "Bound":
                found = await here.client.get(r.PERSISTENTVOLUMES, claim["spec"]["volumeName"])
                assert found["spec"]["claimRef"]["uid"] == claim["metadata"]["uid"]

    story([VolumeBinder], told)


def _bound_as_can_be(claims: list[Object], volumes: list[Object]) -> bool:
    """Whether no claim waits while a volume that nobody ever had is free."""
    waiting = [claim for claim in claims if claim["status"]["phase"] == "Pending" and not is_deleted(claim)]
    had = {claim["spec"].get("volumeName") for claim in claims}
    left = [each for each in volumes if not is_deleted(each) and not each["spec"].get("claimRef")]
    free = [each for each in left if each["metadata"]["name"] not in had]
    return not (waiting and free)
