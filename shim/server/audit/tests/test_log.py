"""The file is put aside when it is large, and not too many such files are kept."""

from __future__ import annotations

from pathlib import Path

from shim.server.audit.log import MEGABYTE, AuditLog


def test_a_large_file_is_put_aside(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "audit.log"
    log = AuditLog(str(path), max_size=1, max_backup=2)
    line = b"x" * (MEGABYTE // 2) + b"\n"
    for hour in range(6):
        log.write(line)
        for backup in path.parent.glob("audit-2*.log"):  # each of another hour, however fast this runs
            backup.rename(backup.with_name(f"audit-1999-01-01T{hour:02}-00-00.000.log"))
    log.close()
    assert path.read_bytes() == line
    assert len(list(path.parent.glob("audit-*.log"))) == 2
    assert (path.stat().st_mode & 0o777) == 0o600


def test_what_was_written_before_a_restart_counts(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    for _ in range(2):
        log = AuditLog(str(path), max_size=1)
        log.write(b"x" * MEGABYTE)
        log.close()
    assert len(list(tmp_path.glob("audit-*.log"))) == 1
