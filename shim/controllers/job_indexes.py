"""Completion indexes: which pods of an Indexed job have which, and how sets of them are written (``0,2-5``). Pure."""

from __future__ import annotations

from collections.abc import Iterable

from shim.api.meta import Object

INDEX = "batch.kubernetes.io/job-completion-index"
FAILURES = "batch.kubernetes.io/job-index-failure-count"
IGNORED_FAILURES = "batch.kubernetes.io/job-index-ignored-failure-count"
ENVIRONMENT = "JOB_COMPLETION_INDEX"
NAME_LENGTH = 58  # of a generated name without its random end


def parse_indexes(text: str | None, completions: int) -> set[int]:
    """``0,2-4`` as a set; indexes at or above ``completions`` (an elastic job was shrunk) do not count."""
    found: set[int] = set()
    for part in (text or "").split(","):
        first, _, last = part.partition("-")
        if first.isdigit() and (not last or last.isdigit()):
            found.update(range(int(first), min(int(last or first), completions - 1) + 1))
    return found


def format_indexes(indexes: Iterable[int]) -> str:
    """Sorted, with three or more in a row as a range."""
    runs: list[list[int]] = []
    for index in sorted(indexes):
        if runs and runs[-1][1] == index - 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    texts = []
    for first, last in runs:
        separator = "," if last == first + 1 else "-"
        texts.append(str(first) if first == last else f"{first}{separator}{last}")
    return ",".join(texts)


def is_indexed(job: Object) -> bool:
    return bool(job["spec"].get("completionMode") == "Indexed")


def index_of(pod: Object, completions: int | None = None) -> int | None:
    """The pod's index; None if it has none, or one that is not wanted any more."""
    text = (pod["metadata"].get("annotations") or {}).get(INDEX, "")
    if not text.isdigit() or (completions is not None and int(text) >= completions):
        return None
    return int(text)


def _count(pod: Object, annotation: str) -> int:
    text = (pod["metadata"].get("annotations") or {}).get(annotation, "")
    return int(text) if text.isdigit() else 0


def failures_of(pod: Object) -> int:
    """How often the pod's index had failed when it was made."""
    return _count(pod, FAILURES)


def all_failures_of(pod: Object) -> int:
    """The same with the failures that a policy says to ignore: they count for the back-off."""
    return _count(pod, FAILURES) + _count(pod, IGNORED_FAILURES)


def ignored_failures_of(pod: Object) -> int:
    return _count(pod, IGNORED_FAILURES)


def with_index(pod: Object, job_name: str, index: int) -> Object:
    """The pod for one index: annotation, label, host name and environment tell which it is."""
    metadata, suffix = pod["metadata"], f"-{index}-"
    metadata["generateName"] = job_name[: NAME_LENGTH - len(suffix)] + suffix
    metadata["annotations"] = {**(metadata.get("annotations") or {}), INDEX: str(index)}
    metadata["labels"] = {**(metadata.get("labels") or {}), INDEX: str(index)}
    pod["spec"]["hostname"] = f"{job_name}-{index}"
    for container in [*(pod["spec"].get("initContainers") or ()), *pod["spec"]["containers"]]:
        environment = container.setdefault("env", [])
        if all(variable["name"] != ENVIRONMENT for variable in environment):
            source = {"fieldRef": {"fieldPath": f"metadata.labels['{INDEX}']"}}
            environment.append({"name": ENVIRONMENT, "valueFrom": source})
    return pod
