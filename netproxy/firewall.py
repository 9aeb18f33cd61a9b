"""Reading and changing iptables of the network namespace we are in: save, restore, and own chains with one jump each.

Whatever ``iptables`` is on this machine is used (nftables or legacy), so that rules are where its users look for them.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from contextlib import suppress

READS = 5  # nftables is not read at one moment: where rules change meanwhile, iptables-save may fail over what is gone
WAIT = "10"  # seconds to wait for another holder of the lock (legacy; nftables retries by itself)


class FirewallError(Exception):
    """iptables refused; the message holds its own words."""


def save(table: str, *, counters: bool = False) -> str:
    """The rules of a table as ``iptables-save`` prints them, with what each has counted in front if asked for."""
    command = ["iptables-save", *(["-c"] if counters else []), "-t", table]
    for _ in range(READS - 1):
        with suppress(FirewallError):
            return _run(command)
    return _run(command)


def restore(text: str) -> None:
    """Apply a restore script; chains it does not name stay as they are. All of a table or nothing is applied."""
    _run(["iptables-restore", "--noflush", "-w", WAIT], text)


def set_chain(table: str, chain: str, rules: Sequence[str], jumps: Sequence[str] = ()) -> None:
    """Make ``chain`` hold exactly ``rules``; each of ``jumps`` (``"INPUT -i eth0"``) leads to it, first there."""
    present = jumps_to(table, chain) if jumps else []
    wanted = [f"-I {jump} -j {chain}" for jump in jumps if f"-A {jump} -j {chain}" not in present]
    lines = [f"*{table}", f":{chain} - [0:0]", *(f"-A {chain} {rule}" for rule in rules), *wanted, "COMMIT", ""]
    restore("\n".join(lines))


def remove_chain(table: str, chain: str) -> None:
    """Remove a chain and every jump to it; nothing happens where it is not."""
    text = save(table)
    if f":{chain} " not in text:
        return
    jumps = [rule for rule in text.splitlines() if rule.startswith("-A ") and rule.endswith(f" -j {chain}")]
    lines = [
        f"*{table}",
        f":{chain} - [0:0]",
        *(f"-D{rule.removeprefix('-A')}" for rule in jumps),
        f"-X {chain}",
        "COMMIT",
        "",
    ]
    restore("\n".join(lines))


def jumps_to(table: str, chain: str) -> list[str]:
    """The rules, as saved, that jump to a chain."""
    return [rule for rule in save(table).splitlines() if rule.startswith("-A ") and rule.endswith(f" -j {chain}")]


def _run(command: list[str], text: str | None = None) -> str:
    try:
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise FirewallError(f"{command[0]} is not installed; it comes with the package iptables") from error
    if done.returncode:
        raise FirewallError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout
