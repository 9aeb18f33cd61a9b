"""What may be asked of a node's logs (KEP-2258), and what is said to who asks wrongly. Pure.

``/logs/?query=kubelet&tailLines=10``: a query with a slash is a file below ``/var/log``, one without is a service.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

from shim.api.meta import parse_time

MOST_LINES = 100_000
MOST_SERVICES, LONGEST_SERVICE = 4, 256
_SAFE = re.compile(r"[a-zA-Z\-_.:0-9@]*")  # nothing else is handed to a command


class BadQuery(Exception):
    """``status`` is 400 for what cannot be read, 406 for what makes no sense."""

    def __init__(self, status: int, problems: Sequence[str]) -> None:
        super().__init__(problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]")
        self.status = status


@dataclass(frozen=True, slots=True)
class Options:
    since: datetime.datetime | None = None
    until: datetime.datetime | None = None
    tail: int | None = None
    boot: int | None = None  # 0 is this one, -1 the one before
    pattern: str = ""

    def __bool__(self) -> bool:
        return any(getattr(self, each.name) != each.default for each in fields(self))


@dataclass(frozen=True, slots=True)
class LogQuery:
    services: tuple[str, ...]
    files: tuple[str, ...]
    options: Options


def parse(query: Mapping[str, str], asked: Sequence[str]) -> LogQuery | None:
    """``asked``: the values of ``query``. None where nothing is queried: then the path is meant. Raises BadQuery."""
    problems: list[str] = []
    files = tuple(each for each in asked if "/" in each or "\\" in each)
    services = tuple(each for each in asked if each not in files and each.strip())
    if asked and not files and not services:
        problems.append(_invalid("query", list(asked), "query cannot be empty"))

    def moment(name: str) -> datetime.datetime | None:
        text = query.get(name)
        try:
            return parse_time(text) if text else None
        except ValueError:
            problems.append(_invalid(name, text, "invalid time format"))
            return None

    def number(name: str) -> int | None:
        text = query.get(name)
        try:
            return int(text) if text else None
        except ValueError:
            why = f'strconv.Atoi: parsing "{text}": invalid syntax'
            problems.append(_invalid(name, text, why))
            return None

    options = Options(
        since=moment("sinceTime"),
        until=moment("untilTime"),
        boot=number("boot"),
        tail=number("tailLines"),
        pattern=query.get("pattern", ""),
    )
    if problems:
        raise BadQuery(400, problems)
    if not files and not services and not options:
        return None
    found = LogQuery(services, files, options)
    if problems := _contradictions(found):
        raise BadQuery(406, problems)
    return found


def _contradictions(query: LogQuery) -> list[str]:
    problems = []
    for service in query.services:
        if len(service) > LONGEST_SERVICE:
            problems.append(_invalid("query", service, f"length must be less than {LONGEST_SERVICE}"))
        elif not _SAFE.fullmatch(service):
            problems.append(_invalid("query", service, "input contains unsupported characters"))
    if (count := len(query.services)) > MOST_SERVICES:
        problems.append(f"query: Too many: {count}: must have at most {MOST_SERVICES} items")
    options = query.options
    if not query.files and not query.services:
        problems.append("query: Required value: cannot be empty with options")
    elif query.files and query.services:
        both = f"[{' '.join(query.files)}], [{' '.join(query.services)}]"
        problems.append(_invalid("query", both, "cannot specify a file and service"))
    elif len(query.files) > 1:
        problems.append(_invalid("query", list(query.files), "cannot specify more than one file"))
    elif query.files and options:
        problems.append(_invalid("query", list(query.files), "cannot specify file with options"))
    if options.since and options.until and options.since > options.until:
        text = options.until.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        problems.append(_invalid("untilTime", text, "must be after `sinceTime`"))
    if options.boot is not None and options.boot > 0:
        problems.append(_invalid("boot", options.boot, "must be less than 1"))
    if options.tail is not None and not 0 <= options.tail <= MOST_LINES:
        problems.append(_invalid("tailLines", options.tail, f"must be between 0 and {MOST_LINES}, inclusive"))
    try:
        re.compile(options.pattern)
    except re.error as error:
        problems.append(_invalid("pattern", options.pattern, f"error parsing regexp: {error}"))
    return problems


def _invalid(field: str, value: object, why: str) -> str:
    return f"{field}: Invalid value: {json.dumps(value, separators=(',', ':'))}: {why}"


def journal_command(query: LogQuery) -> list[str]:
    """What one would type to ask systemd's journal."""
    command = ["journalctl", "--utc", "--no-pager", "--output=short-precise"]
    options = query.options
    for flag, at in (("since", options.since), ("until", options.until)):
        if at is not None:
            command.append(f"--{flag}={at.astimezone(datetime.UTC):%Y-%m-%d %H:%M:%S}")
    if options.tail is not None:
        command += ["--pager-end", f"--lines={options.tail}"]
    command += [f"--unit={service}" for service in query.services]
    if options.pattern:
        command += [f"--grep={options.pattern}", "--case-sensitive=false"]
    if options.boot is not None:
        command += ["--boot", str(options.boot)]
    return command


def chosen(lines: Sequence[bytes], options: Options, booted: datetime.datetime) -> list[bytes]:
    """Of a log of our own the lines that are asked for; those without a time belong to the one before them."""
    found: list[bytes] = []
    pattern = re.compile(options.pattern.encode(), re.IGNORECASE) if options.pattern else None
    at: datetime.datetime | None = None
    for line in lines:
        at = _time_of(line) or at
        early = at is not None and (
            (options.since is not None and at < options.since) or (options.boot == 0 and at < booted)
        )
        late = at is not None and (
            (options.until is not None and at > options.until)
            or (options.boot is not None and options.boot < 0 and at >= booted)
        )
        if not early and not late and (pattern is None or pattern.search(line)):
            found.append(line)
    return found if options.tail is None else found[len(found) - options.tail :] if options.tail else []


def _time_of(line: bytes) -> datetime.datetime | None:
    """``2026-11-26T10:00:00.123 INFO``, in local time."""
    try:
        return datetime.datetime.fromisoformat(line[:23].decode()).astimezone()
    except ValueError:
        return None
