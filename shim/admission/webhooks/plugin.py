"""Webhooks in the chain: mutating ones in order, each seeing what the last has made; validating ones side by side."""

from __future__ import annotations

import asyncio
import copy
import logging
import time
from collections import Counter
from functools import partial

import orjson

from shim.admission.conditions import ConditionError, hold, patiently, variables_of
from shim.admission.matching import Match, converted, converted_back, in_namespace, is_exempt, match, selects_object
from shim.admission.request import PATCHES, Plugin, Reader, Reinvocation, Request
from shim.admission.webhooks.call import Caller, CallError
from shim.admission.webhooks.hooks import Hook, Hooks
from shim.admission.webhooks.review import InvalidResponse, Verdict, denial, patched, question, verdict
from shim.api import jsonpatch, latency, names
from shim.api.meta import GVR, Object
from shim.api.status import ApiError, bad_request, forbidden, internal
from shim.api.timing import Histograms
from shim.cel.requests import CONDITIONS

log = logging.getLogger(__name__)

_GROUP = "admissionregistration.k8s.io"
MUTATING = GVR(_GROUP, "v1", "mutatingwebhookconfigurations", namespaced=False)
VALIDATING = GVR(_GROUP, "v1", "validatingwebhookconfigurations", namespaced=False)
_SECONDS = (0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10.0, 25.0)
_HIGHEST = 600  # code that is counted as it is: a webhook may answer any number
HARMLESS = ("None", "NoneOnDryRun")
MUTATIONS = "mutation.webhook.admission.k8s.io/"


class Failed(Exception):
    """A webhook could not be asked, or gave no answer that can be used."""

    def __init__(self, hook: Hook, why: str) -> None:
        super().__init__(f'failed calling webhook "{hook.name}": {why}')


class _Webhooks(Plugin):
    """What both kinds have in common."""

    configurations: GVR
    mutating: bool
    latency: str
    """What the audit log calls the time that webhooks took."""

    def __init__(self) -> None:
        self._hooks = Hooks()
        self._caller = Caller()
        self._requests: Counter[tuple[str, ...]] = Counter()
        self._rejections: Counter[tuple[str, ...]] = Counter()
        self._opened: Counter[tuple[str, ...]] = Counter()
        self._took = Histograms(_SECONDS)
        self.counts = {
            "apiserver_admission_webhook_request": self._requests,
            "apiserver_admission_webhook_rejection_count": self._rejections,
            "apiserver_admission_webhook_fail_open_count": self._opened,
        }
        self.durations = {"apiserver_admission_webhook_admission_duration_seconds": self._took}

    async def close(self) -> None:
        await self._caller.close()

    def _all(self, request: Request, reader: Reader) -> list[Hook]:
        found = reader.list(self.configurations)
        return self._hooks.of(found) if found and not is_exempt(request) else []

    async def _match(self, hook: Hook, request: Request, reader: Reader) -> Match | None:
        """As what a webhook wants to see this request; None when it does not."""
        if not selects_object(request, hook.objects):
            return None
        found = match(request, hook.rules, reader, equivalent=hook.equivalent)
        if found is None or not in_namespace(request, hook.namespaces, reader):
            return None
        if hook.conditions:
            asked = partial(hold, hook.conditions, CONDITIONS, variables_of(request, found, reader))
            try:
                if not await patiently(asked):
                    return None
            except ConditionError as error:
                if hook.may_fail:
                    return None
                raise forbidden(request.resource.group, request.resource.name, request.name, str(error)) from None
        return found

    async def _ask(self, hook: Hook, request: Request, match: Match, reader: Reader) -> Verdict:
        """Raises ApiError when the webhook refuses, Failed when it cannot be asked."""
        began, step = time.perf_counter(), "admit" if self.mutating else "validating"
        code, error, rejected = 200, "", False
        try:
            with latency.took(self.latency, side_by_side=not self.mutating):
                return await self._said(hook, request, match, reader)
        except Failed:
            code, error, rejected = 500, "calling_webhook_error", not hook.may_fail
            raise
        except ApiError as refusal:
            code, error, rejected = refusal.code, "no_error", True
            raise
        finally:
            of = (hook.name, step, request.operation)
            self._requests[*of, str(min(code, _HIGHEST)), str(rejected).lower()] += 1
            self._took[*of, str(rejected).lower()].add(time.perf_counter() - began)
            if rejected:
                self._rejections[*of, error, str(min(code, _HIGHEST))] += 1

    async def _said(self, hook: Hook, request: Request, match: Match, reader: Reader) -> Verdict:
        if request.dry_run and hook.side_effects not in HARMLESS:
            raise bad_request(f'admission webhook "{hook.name}" does not support dry run')
        try:
            review = question(hook, request, match)
        except InvalidResponse as error:
            raise Failed(hook, f"could not create admission objects: {error}") from None
        try:
            answer = await self._caller.post(hook.client, review, hook.timeout, reader)
        except CallError as error:
            raise Failed(hook, f"failed to call webhook: {error}") from None
        try:
            said = verdict(review, answer, mutating=self.mutating)
        except InvalidResponse as error:
            raise Failed(hook, f"received invalid webhook response: {error}") from None
        for key, value in said.annotations.items():
            if not names.qualified_name(f"{hook.name}/{key}"):  # others are no keys, and are left out
                request.annotations.setdefault(f"{hook.name}/{key}", value)
        request.warnings.extend(said.warnings)
        if not said.allowed:
            raise denial(hook, said.status)
        return said

    def _go_on(self, hook: Hook, request: Request, error: Failed, place: str) -> None:
        """A webhook failed: say so and go on if it may. Raises ApiError."""
        if not hook.may_fail:
            raise internal(str(error)) from None
        log.warning("%s; going on without it", error)
        self._opened[hook.name, "admit" if self.mutating else "validating"] += 1
        kind = "mutation" if self.mutating else "validating"
        request.annotations[f"failed-open.{kind}.webhook.admission.k8s.io/{place}"] = hook.name


class ValidatingAdmissionWebhook(_Webhooks):
    configurations = VALIDATING
    mutating = False
    latency = latency.VALIDATING

    async def validate(self, request: Request, reader: Reader) -> None:
        matched = [(hook, await self._match(hook, request, reader)) for hook in self._all(request, reader)]
        wanted = [(hook, found) for hook, found in matched if found is not None]
        if not wanted:
            return
        asked = (self._one(index, hook, request, found, reader) for index, (hook, found) in enumerate(wanted))
        for outcome in await asyncio.gather(*asked, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome

    async def _one(self, index: int, hook: Hook, request: Request, match: Match, reader: Reader) -> None:
        try:
            await self._ask(hook, request, match, reader)
        except Failed as error:
            self._go_on(hook, request, error, f"round_0_index_{index}")


class MutatingAdmissionWebhook(_Webhooks):
    """Asks each webhook in turn; when one changed the object, those before it that wish are asked once more.

    The chain's second round does that, after its own plugins have had a second look at the object.
    """

    configurations = MUTATING
    mutating = True
    latency = latency.MUTATING

    async def mutate(self, request: Request, reader: Reader) -> None:
        hooks = self._all(request, reader)
        if not hooks:
            return
        state = request.reinvocation = request.reinvocation or Reinvocation()
        if state.round and state.output != _bytes(request):
            state.ask_again()
        for index, hook in enumerate(hooks):
            if state.round and hook.uid not in state.due:
                continue
            found = await self._match(hook, request, reader)
            if found is None:
                continue
            place = f"round_{state.round}_index_{index}"
            changed = False
            try:
                said = await self._ask(hook, request, found, reader)
                if said.patch:
                    changed = self._change(hook, request, found, said, reader, place)
            except Failed as error:
                self._go_on(hook, request, error, place)
            finally:
                _note(request, f"{MUTATIONS}{place}", hook, mutated=changed)
            if changed:
                state.ask_again()
                state.wanted = True
            if hook.may_run_again:
                state.asked.add(hook.uid)
        state.output = _bytes(request)

    def _change(self, hook: Hook, request: Request, match: Match, said: Verdict, reader: Reader, place: str) -> bool:
        """Apply a webhook's patch; whether it changed anything. Raises ApiError, or Failed for one that is none."""
        obj = request.obj
        try:
            operations = orjson.loads(said.patch)
            if not isinstance(operations, list):
                what = "object" if isinstance(operations, dict) else "value"
                text = f"json: cannot unmarshal {what} into Go value of type jsonpatch.Patch"
                raise Failed(hook, f"received undecodable patch in webhook response: {text}")
            if not operations:
                return False
            if said.patch_type != "JSONPatch":
                raise Failed(hook, f'unsupported patch type "{said.patch_type}"')
            if obj is None:
                text = "attempted to modify the object, which is not supported for this operation"
                raise internal(f'admission webhook "{hook.name}" {text}')
            before = converted(obj, request, match) or {}
            new = patched(copy.deepcopy(before), said.patch)
        except (jsonpatch.PatchError, orjson.JSONDecodeError) as error:
            if isinstance(error, jsonpatch.PatchError) and error.code == 422:
                raise internal(str(error)) from None
            raise Failed(hook, f"received undecodable patch in webhook response: {error}") from None
        new = reader.conform(new, before["kind"], before["apiVersion"])
        whole = converted_back(new, request, match)
        if match.kind.kind == match.resource.kind:
            request.resource.strategy.default(whole)
        _note(request, f"{PATCHES}{place}", hook, patch=operations, patchType="JSONPatch")
        if whole == obj:
            return False
        request.replace(whole)
        return True


def _bytes(request: Request) -> bytes:
    return orjson.dumps(request.obj, option=orjson.OPT_SORT_KEYS)


def _note(request: Request, key: str, hook: Hook, **more: object) -> None:
    said: Object = {"configuration": hook.configuration, "webhook": hook.name, **more}
    request.annotations[key] = orjson.dumps(said).decode()
