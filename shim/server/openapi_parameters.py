"""What may stand in the query of each operation, as OpenAPI tells it. Only what this server heeds is listed."""

from __future__ import annotations

from typing import Any

Parameter = dict[str, Any]


def _query(name: str, type: str, description: str) -> Parameter:
    schema = {"type": type, "uniqueItems": True}
    return {"name": name, "in": "query", "description": description, "schema": schema}


def path(name: str, description: str) -> Parameter:
    """A part of the path."""
    schema = {"type": "string", "uniqueItems": True}
    return {"name": name, "in": "path", "description": description, "required": True, "schema": schema}


NAMESPACE = path("namespace", "object name and auth scope, such as for teams and projects")
PRETTY = _query("pretty", "string", "If 'true', the answer is indented for people to read.")

_DRY_RUN = _query("dryRun", "string", "With 'All', everything is checked and nothing is stored.")
_MANAGER = _query("fieldManager", "string", "Who is recorded as having set the fields of this write.")
_VALIDATION = _query(
    "fieldValidation", "string", "What becomes of unknown and duplicate fields: Ignore, Warn (the default) or Strict."
)
_SELECTING = (
    _query("continue", "string", "The token of the list before, to go on where that one ended."),
    _query("fieldSelector", "string", "Only objects with these values of fields."),
    _query("labelSelector", "string", "Only objects with these labels."),
    _query("limit", "integer", "The most objects in one answer; a token tells how to ask for more."),
    _query("resourceVersion", "string", "How recent the answer has to be."),
    _query("resourceVersionMatch", "string", "How resourceVersion is meant: Exact or NotOlderThan."),
    _query("sendInitialEvents", "boolean", "Begin a watch with what is there, and mark the end of that."),
    _query("timeoutSeconds", "integer", "When to end the request, whatever happens."),
)
_DELETING = (
    _DRY_RUN,
    _query("gracePeriodSeconds", "integer", "Seconds until the object is gone; zero means at once."),
    _query("orphanDependents", "boolean", "The older form of propagationPolicy."),
    _query("propagationPolicy", "string", "What becomes of dependents: Orphan, Background or Foreground."),
)
_STREAMING = (
    _query("container", "string", "Which container; may be left out where the pod has one."),
    _query("stderr", "boolean", "Whether to send what the process writes to its standard error."),
    _query("stdin", "boolean", "Whether to pass this client's input to the process."),
    _query("stdout", "boolean", "Whether to send what the process writes to its standard output."),
    _query("tty", "boolean", "Whether the process gets a terminal."),
)
OF_VERB: dict[str, tuple[Parameter, ...]] = {
    "list": (
        _query("allowWatchBookmarks", "boolean", "Whether a watch may get events of type BOOKMARK."),
        *_SELECTING,
        _query("watch", "boolean", "Send changes as they happen, instead of a list."),
    ),
    "create": (_DRY_RUN, _MANAGER, _VALIDATION),
    "update": (_DRY_RUN, _MANAGER, _VALIDATION),
    "patch": (
        _DRY_RUN,
        _MANAGER,
        _VALIDATION,
        _query("force", "boolean", "Whether to take fields over from other managers when applying."),
    ),
    "delete": _DELETING,
    "deletecollection": tuple(sorted((*_DELETING, *_SELECTING), key=lambda each: str(each["name"]))),
}
OF_VERB["watch"] = OF_VERB["list"]
OF_STREAM: dict[str, tuple[Parameter, ...]] = {
    "log": (
        _STREAMING[0],
        _query("follow", "boolean", "Whether to send what is yet to be written, too."),
        _query("insecureSkipTLSVerifyBackend", "boolean", "Whether to trust a kubelet whatever its certificate."),
        _query("limitBytes", "integer", "The most bytes to send."),
        _query("previous", "boolean", "Whether to read the log of the container that ran before."),
        _query("sinceSeconds", "integer", "Only what was written in the last so many seconds."),
        _query("stream", "string", "Which stream: All, Stdout or Stderr."),
        _query("tailLines", "integer", "Only so many of the last lines."),
        _query("timestamps", "boolean", "Whether each line begins with its time."),
    ),
    "exec": (_query("command", "string", "The program and its arguments, each a parameter."), *_STREAMING),
    "attach": _STREAMING,
    "portforward": (_query("ports", "integer", "The ports to forward, which a WebSocket cannot tell otherwise."),),
    "proxy": (_query("path", "string", "The path to ask the backend for."),),
}
"""Of subresources that something else in the cluster answers."""
REST = path("path", "path to the resource")
