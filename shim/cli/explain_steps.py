"""``shim explain pod/NAME --steps``: how a pod came to be, across all parts, and what one would type to do the same."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from shim.cli.common import wide_console
from shim.cli.explain_container import name_of

if TYPE_CHECKING:
    from nodeagent.engine.anatomy import Container, Sandbox

_COLOURS = {"scheduler": "yellow", "kubelet": "cyan", "engine": "magenta", "container": "green"}
_WIDTH = 30
_NARROW = 110  # columns: with fewer there is no room for bars beside the commands
READY = "all is ready"


@dataclass(frozen=True, slots=True)
class Line:
    """One step of one part."""

    part: str
    what: str
    at: float  # seconds since the epoch
    ms: float
    shell: tuple[str, ...] = ()


def lines_of(events: list[Any], parts: list[tuple[Sandbox, list[Container]]], kept: Path) -> list[Line]:
    """All steps that anybody kept, in the order they were begun."""
    found = [
        Line("scheduler", f"tells: {event['message']}", _micro(event["eventTime"]), 0.0)
        for event in events
        if event.get("reason") == "Scheduled" and event.get("eventTime")
    ]
    if kept.exists():
        found += [_line("kubelet", step) for step in json.loads(kept.read_text())]
    for sandbox, containers in parts:
        found += [_line("engine", step) for step in sandbox.steps]
        for container in containers:
            name = name_of(container)
            found += [_line("engine", step, name) for step in container.preparation]
            found += [_line("container", step, name) for step in container.steps]
    return sorted(found, key=lambda line: line.at)


def _line(part: str, step: dict[str, Any], name: str = "") -> Line:
    what = f"{name}: {step['what']}" if name else step["what"]
    return Line(part, what, float(step["at"]), float(step["ms"]), tuple(step["shell"]))


def _micro(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def names_for(parts: list[tuple[Sandbox, list[Container]]], pod_dir: Path) -> dict[str, str]:
    """Short names for the long paths that commands are full of: what one would set before typing them."""
    found = {"POD": str(pod_dir)}
    several = len(parts) > 1
    for number, (sandbox, containers) in enumerate(parts, 1):
        own = str(number) if several else ""
        found[f"G{own}"] = sandbox.cgroup_path
        held = next((path for path, _ in sandbox.namespaces.values()), "")
        found[f"S{own}"] = str(Path(held).parent)
        for container in containers:
            name = name_of(container).upper().replace("-", "_")
            found.setdefault(f"C_{name}", str(container.directory))
            found.setdefault(f"ID_{name}", container.spec.id)
    return found


def shortened(command: str, names: dict[str, str]) -> str:
    """The longest first: one path may begin another."""
    for name, value in sorted(names.items(), key=lambda pair: -len(pair[1])):
        command = command.replace(value, f"${name}")
    return command


def print_steps(pod: Any, events: list[Any], parts: list[tuple[Sandbox, list[Container]]], kept: Path) -> None:
    console = wide_console()
    lines = lines_of(events, parts, kept)
    meta = pod["metadata"]
    if not lines:
        console.print(f"nobody has kept how {meta['name']} came to be")
        return
    begin = lines[0].at
    ready = next((line for line in lines if line.part == "kubelet" and line.what == READY), None)
    span = max((ready or lines[-1]).at - begin, 0.001)
    until = "to ready" if ready else "to its last step: it has never been ready"
    console.print(
        f"[bold]{meta['namespace']}/{meta['name']}[/]  written to the API at {meta['creationTimestamp']} (which keeps"
        f" whole seconds); {span * 1000:.1f} ms from {lines[0].part} {until}"
    )
    names = names_for(parts, kept.parent)
    for name, value in names.items():
        console.print(f"[dim]$ {name}={value}[/]", soft_wrap=True)
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("begun", justify="right")
    table.add_column("took", justify="right")
    bars = console.width >= _NARROW
    if bars:
        table.add_column("", width=_WIDTH)
    table.add_column("part")
    table.add_column("step, and what one would type", overflow="fold")
    for line in lines:
        colour = _COLOURS[line.part]
        text = escape(line.what) + "".join(f"\n[dim]$ {escape(shortened(command, names))}[/]" for command in line.shell)
        table.add_row(
            f"+{(line.at - begin) * 1000:.1f}",
            f"{line.ms:.1f}" if line.ms else "",
            *([f"[{colour}]{_bar(line, begin, span)}[/]"] if bars else []),
            f"[{colour}]{line.part}[/]",
            text,
        )
    console.print(table)
    console.print("[dim]times in ms; a command does by other means what was done by system calls[/]")


def _bar(line: Line, begin: float, span: float) -> str:
    """Where a step lies in the whole; one after the end has none."""
    start = int((line.at - begin) / span * _WIDTH)
    if start > _WIDTH:
        return ""
    length = max(1, round(line.ms / 1000 / span * _WIDTH))
    start = min(start, _WIDTH - 1)
    return " " * start + "━" * min(length, _WIDTH - start) if line.ms else " " * start + "·"
