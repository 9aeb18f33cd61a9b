"""Which finished jobs have lived long enough? ``ttlSecondsAfterFinished`` after their end they are deleted."""

from __future__ import annotations

import datetime

from shim.api.meta import Object, key_of
from shim.api.status import ApiError
from shim.client import resource as r
from shim.controllers.job_plan import is_finished, seconds_to_live
from shim.controllers.loop import Context, Controller


class JobTtlController(Controller):
    """Deletes jobs with their pods (in the foreground: the job goes last)."""

    name = "ttl-after-finished"

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self.jobs = ctx.informer(r.JOBS)
        self.jobs.on_change(self.job_changed)

    def job_changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None and new["spec"].get("ttlSecondsAfterFinished") is not None and is_finished(new):
            self.queue.add(key_of(new))

    async def reconcile(self, key: str) -> None:
        job = self.jobs.get(key)
        left = seconds_to_live(job, datetime.datetime.now(datetime.UTC)) if job is not None else None
        if job is None or left is None:
            return
        if left > 0:
            self.queue.add_after(key, left)
            return
        # the time may just have been prolonged: the newest version decides
        metadata = job["metadata"]
        try:
            await self.ctx.client.delete(
                r.JOBS,
                metadata["name"],
                metadata["namespace"],
                propagation="Foreground",
                uid=metadata["uid"],
                resource_version=metadata["resourceVersion"],
            )
        except ApiError as error:
            if error.code != 404:
                raise
