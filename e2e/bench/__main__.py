"""``make bench``: prints a table, and the same figures as JSON."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value, with its limit in the same run where there is one."""

    work: str
    value: float
    unit: str
    limit: float | None = None
    limit_of: str = ""
    aim: str = ""

    @property
    def share(self) -> str:
        return "" if not self.limit else f"{100 * self.value / self.limit:.0f}%"


def main() -> int:
    """Measure the API server alone, then a whole cluster."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument(
        "--only", choices=("api", "stalls", "pods", "scheduling", "hollow", "network"), help="measure only this"
    )
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    args = parser.parse_args()
    from e2e.bench import api, hollow, network, pods, scheduling, stalls

    figures: list[Figure] = []
    console = Console()
    with tempfile.TemporaryDirectory(prefix="shim-bench-") as folder:
        for name, part in (
            ("api", api),
            ("stalls", stalls),
            ("scheduling", scheduling),
            ("network", network),
            ("pods", pods),
            ("hollow", hollow),  # last: this process grows by it, and the proxy that is measured is forked from it
        ):
            if args.only in (None, name):
                figures += part.measure(Path(folder), console.print)
    table = Table("work", "measured", "limit in this run", "of it", "aim", box=None, header_style="bold")
    for figure in figures:
        limit = f"{_number(figure.limit)} {figure.limit_of}" if figure.limit else ""
        table.add_row(figure.work, f"{_number(figure.value)} {figure.unit}", limit, figure.share, figure.aim)
    console.print(table)
    text = json.dumps([asdict(figure) for figure in figures], indent=1)
    if args.json:
        args.json.write_text(text + "\n")
    print(text)
    return 0


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


if __name__ == "__main__":
    sys.exit(main())
