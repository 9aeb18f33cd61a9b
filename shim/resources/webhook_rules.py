"""What must hold of webhook configurations: names, rules, selectors, where to call, match conditions."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from shim import cel
from shim.api import names
from shim.api.meta import Object
from shim.api.status import FieldError
from shim.cel.requests import CONDITIONS
from shim.resources.causes import (
    duplicate,
    invalid,
    label_selector,
    named,
    one_of,
    required,
    shown,
    too_many,
    unsupported,
)
from shim.resources.expressions import complaints

REVIEW_VERSIONS = ("v1", "v1beta1")
OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
SCOPES = ("*", "Cluster", "Namespaced")
HARMLESS = ("None", "NoneOnDryRun")
"""Side effects a new webhook may have."""
_KNOWN = ("None", "NoneOnDryRun", "Some", "Unknown")
MOST_CONDITIONS = 64
_FORM = "; desired format: https://host[/path]"


def webhooks(new: Object, old: Object | None, *, mutating: bool) -> list[FieldError]:
    """Every reason against a configuration; of a stored one that has a flaw of old, the flaw may stay."""
    hooks, before = new.get("webhooks") or [], (old or {}).get("webhooks") or []
    effects = HARMLESS if all(hook.get("sideEffects") in HARMLESS for hook in before) else _KNOWN
    recognized = all(set(REVIEW_VERSIONS) & set(each.get("admissionReviewVersions") or ("v1",)) for each in before)
    unique = len({each.get("name") for each in before}) == len(before)
    kept = old is not None and [each.get("matchConditions") for each in hooks] == [
        each.get("matchConditions") for each in before
    ]
    causes: list[FieldError] = []
    seen: set[str] = set()
    for index, hook in enumerate(hooks):
        at, name = f"webhooks[{index}]", hook.get("name") or ""
        causes += _webhook(at, hook, effects, mutating, check_conditions=not kept)
        causes += _versions(f"{at}.admissionReviewVersions", hook.get("admissionReviewVersions") or [], recognized)
        if name and unique and name in seen:
            causes.append(duplicate(f"{at}.name", name))
        seen.add(name)
    return causes


def _webhook(
    at: str, hook: Object, effects: tuple[str, ...], mutating: bool, *, check_conditions: bool
) -> list[FieldError]:
    causes = fully_qualified_name(f"{at}.name", hook.get("name") or "")
    for index, each in enumerate(hook.get("rules") or ()):
        causes += rule_with_operations(f"{at}.rules[{index}]", each)
    causes += one_of(f"{at}.failurePolicy", hook.get("failurePolicy"), ("Fail", "Ignore"))
    causes += one_of(f"{at}.matchPolicy", hook.get("matchPolicy"), ("Equivalent", "Exact"))
    found = hook.get("sideEffects")
    if found is None:
        causes.append(required(f"{at}.sideEffects", f"must specify one of {', '.join(effects)}"))
    elif found not in effects:
        causes.append(unsupported(f"{at}.sideEffects", found, effects))
    seconds = hook.get("timeoutSeconds")
    if seconds is not None and not 1 <= seconds <= 30:
        text = "the timeout value must be between 1 and 30 seconds"
        causes.append(invalid(f"{at}.timeoutSeconds", seconds, text))
    for field in ("namespaceSelector", "objectSelector"):
        if hook.get(field) is not None:
            causes += label_selector(f"{at}.{field}", hook[field])
    if mutating:
        causes += one_of(f"{at}.reinvocationPolicy", hook.get("reinvocationPolicy"), ("IfNeeded", "Never"))
    causes += client_config(f"{at}.clientConfig", hook.get("clientConfig") or {})
    if check_conditions:
        causes += match_conditions(f"{at}.matchConditions", hook.get("matchConditions") or [], CONDITIONS)
    return causes


def fully_qualified_name(at: str, name: str) -> list[FieldError]:
    """A name like ``image-policy.k8s.io``."""
    if not name:
        return [required(at)]
    if texts := names.dns1123_subdomain(name):
        return [invalid(at, name, ",".join(texts))]
    if name.count(".") < 2:
        return [invalid(at, name, "should be a domain with at least three segments separated by dots")]
    return []


def rule_with_operations(at: str, rule: Object) -> list[FieldError]:
    """Which requests a webhook or a policy is for."""
    causes = _wildcard(f"{at}.operations", rule.get("operations") or [], "operations")
    for index, operation in enumerate(rule.get("operations") or ()):
        if operation not in OPERATIONS:
            causes.append(unsupported(f"{at}.operations[{index}]", operation, OPERATIONS))
    causes += _wildcard(f"{at}.apiGroups", rule.get("apiGroups") or [], "API groups")
    versions = rule.get("apiVersions") or []
    causes += _wildcard(f"{at}.apiVersions", versions, "API versions")
    causes += [required(f"{at}.apiVersions[{index}]") for index, version in enumerate(versions) if not version]
    causes += _resources(f"{at}.resources", rule.get("resources") or [])
    return causes + one_of(f"{at}.scope", rule.get("scope"), SCOPES)


def _wildcard(at: str, items: Sequence[str], what: str) -> list[FieldError]:
    if not items:
        return [required(at)]
    if len(items) > 1 and "*" in items:
        return [invalid(at, items, f"if '*' is present, must not specify other {what}")]
    return []


def _resources(at: str, resources: Sequence[str]) -> list[FieldError]:
    if not resources:
        return [required(at)]
    causes: list[FieldError] = []
    whole: set[str] = set()  # resources of which all subresources are meant
    everywhere: set[str] = set()  # subresources that are meant of all resources
    plain = False
    for index, each in enumerate(resources):
        if not each:
            causes.append(required(f"{at}[{index}]"))
            continue
        resource, slash, sub = each.partition("/")
        if not slash:
            plain = each != "*"
            continue
        if resource in whole:
            causes.append(invalid(f"{at}[{index}]", each, f"if '{resource}/*' is present, must not specify {each}"))
        if sub in everywhere:
            causes.append(invalid(f"{at}[{index}]", each, f"if '*/{sub}' is present, must not specify {each}"))
        if sub == "*":
            whole.add(resource)
        if resource == "*":
            everywhere.add(sub)
    if len(resources) > 1 and "*/*" in resources:
        causes.append(invalid(at, list(resources), "if '*/*' is present, must not specify other resources"))
    if "*" in resources and plain:
        text = "if '*' is present, must not specify other resources without subresources"
        causes.append(invalid(at, list(resources), text))
    return causes


def _versions(at: str, versions: Sequence[str], recognized: bool) -> list[FieldError]:
    if not versions:
        return [required(at, f"must specify one of {', '.join(REVIEW_VERSIONS)}")]
    return review_versions(at, versions, recognized)


def review_versions(at: str, versions: Sequence[str], recognized: bool = True) -> list[FieldError]:
    """Versions of reviews a webhook takes, of admission or of conversion; ``recognized``: one must be known to us."""
    if not versions:
        return [required(at)]
    causes: list[FieldError] = []
    seen: set[str] = set()
    for index, version in enumerate(versions):
        if version in seen:
            causes.append(invalid(f"{at}[{index}]", version, "duplicate version"))
            continue
        seen.add(version)
        causes += named(f"{at}[{index}]", version, names.dns1035_label)
    if recognized and not seen & set(REVIEW_VERSIONS):
        causes.append(invalid(at, list(versions), f"must include at least one of {', '.join(REVIEW_VERSIONS)}"))
    return causes


def client_config(at: str, config: Object) -> list[FieldError]:
    """Where a webhook is called; also of conversion webhooks."""
    url, service = config.get("url"), config.get("service")
    if (url is None) == (service is None):
        return [required(at, "exactly one of url or service is required")]
    return _url(f"{at}.url", url) if url is not None else _service(f"{at}.service", service or {})


def _url(at: str, url: str) -> list[FieldError]:
    try:
        if url.startswith(":"):
            raise ValueError(f"parse {shown(url)}: missing protocol scheme")
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        return [required(at, f"url must be a valid URL: {error}{_FORM}")]
    causes: list[FieldError] = []
    if parts.scheme != "https":
        causes.append(invalid(at, parts.scheme, f"'https' is the only allowed URL scheme{_FORM}"))
    if not parts.hostname and port is None:
        causes.append(invalid(at, "", f"host must be specified{_FORM}"))
    if "@" in parts.netloc:
        user = parts.netloc.rpartition("@")[0]
        causes.append(invalid(at, user, "user information is not permitted in the URL"))
    if parts.fragment:
        causes.append(invalid(at, parts.fragment, "fragments are not permitted in the URL"))
    if parts.query:
        causes.append(invalid(at, parts.query, "query parameters are not permitted in the URL"))
    return causes


def _service(at: str, service: Object) -> list[FieldError]:
    # upstream hands name and namespace over in the wrong order, so that each is missed at the other's place
    causes = [] if service.get("namespace") else [required(f"{at}.name")]
    causes += [] if service.get("name") else [required(f"{at}.namespace")]
    port = service.get("port") or 0
    if texts := names.port_number(port):
        causes.append(invalid(f"{at}.port", port, f"port is not valid: {', '.join(texts)}"))
    path = service.get("path")
    if path in (None, "", "/"):
        return causes
    if path == "//":
        return [*causes, invalid(f"{at}.path", path, "segment[0] may not be empty")]
    if not path.startswith("/"):
        causes.append(invalid(f"{at}.path", path, "must start with a '/'"))
    for index, step in enumerate(path[1:].removesuffix("/").split("/")):
        if not step:
            causes.append(invalid(f"{at}.path", path, f"segment[{index}] may not be empty"))
            continue
        texts = names.dns1123_subdomain(step)
        causes += [invalid(f"{at}.path", path, f"segment[{index}]: {text}") for text in texts]
    return causes


def match_conditions(at: str, conditions: Sequence[Object], environment: cel.Environment) -> list[FieldError]:
    """Of webhooks and policies: expressions that are all to be true."""
    causes: list[FieldError] = []
    if len(conditions) > MOST_CONDITIONS:
        causes.append(too_many(at, len(conditions), MOST_CONDITIONS))
    seen: set[str] = set()
    for index, condition in enumerate(conditions):
        here, name = f"{at}[{index}]", condition.get("name") or ""
        expression = (condition.get("expression") or "").strip()
        if not expression:
            causes.append(required(f"{here}.expression"))
        else:
            causes += complaints(f"{here}.expression", environment, expression, cel.BOOL)
        if not name:
            causes.append(required(f"{here}.name"))
        else:
            causes += named(f"{here}.name", name, names.qualified_name)
            if name in seen:
                causes.append(duplicate(f"{here}.name", name))
        seen.add(name)
    return causes
