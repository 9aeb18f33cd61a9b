"""Reading iptables while others change it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from netproxy import firewall


def test_a_table_that_changes_while_it_is_read_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = f"#!/bin/sh\necho read >> {tmp_path}/reads; [ $(wc -l < {tmp_path}/reads) -ge $NEEDED ] && echo '*nat'\n"
    (tmp_path / "iptables-save").write_text(script)
    (tmp_path / "iptables-save").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("NEEDED", "3")
    assert firewall.save("nat") == "*nat\n"
    (tmp_path / "reads").unlink()
    monkeypatch.setenv("NEEDED", "1000")
    with pytest.raises(firewall.FirewallError, match="iptables-save -t nat"):  # one that cannot be read says so
        firewall.save("nat")
    assert len((tmp_path / "reads").read_text().split()) == firewall.READS
