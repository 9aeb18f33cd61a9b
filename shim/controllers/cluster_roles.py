"""What does a role mean that is made of others? Its rules are those of every role its selectors match.

That is how ``admin``, ``edit`` and ``view`` grow with a role that somebody labels for them.
"""

from __future__ import annotations

from collections.abc import Iterable

from shim.api import selectors
from shim.api.meta import Object
from shim.client import resource as r
from shim.controllers.loop import Context, Controller

MANAGER = "clusterrole-aggregation-controller"


def aggregated(role: Object, roles: Iterable[Object]) -> list[Object]:
    """The rules the role should have: each once, in the order of the names of the roles they come from."""
    wanted = [selectors.from_object(each) for each in role["aggregationRule"].get("clusterRoleSelectors") or ()]
    rules: list[Object] = []
    for other in sorted(roles, key=lambda each: str(each["metadata"]["name"])):
        labels = other["metadata"].get("labels") or {}
        if other["metadata"]["name"] == role["metadata"]["name"] or not any(each.matches(labels) for each in wanted):
            continue
        rules += [rule for rule in other.get("rules") or () if rule not in rules]
    return rules


class ClusterRoleAggregation(Controller):
    """A change of any role may change every aggregated one."""

    name = "clusterrole-aggregation"

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self.roles = ctx.informer(r.CLUSTERROLES)
        self.roles.add_indexer("aggregated", lambda role: ["yes"] if role.get("aggregationRule") else [])
        self.roles.on_change(self.role_changed)

    def role_changed(self, old: Object | None, new: Object | None) -> None:
        for role in self.roles.by("aggregated", "yes"):
            self.queue.add(role["metadata"]["name"])

    async def reconcile(self, key: str) -> None:
        role = self.roles.get(key)
        if role is None or not role.get("aggregationRule"):
            return
        rules = aggregated(role, self.roles.list())
        if rules == (role.get("rules") or []):
            return
        wanted = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": key},
            "rules": rules,
        }
        await self.ctx.client.patch(r.CLUSTERROLES, key, wanted, type="apply", field_manager=MANAGER, force=True)
