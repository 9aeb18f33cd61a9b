"""The README's commands, run word for word: what it shows is what happens."""

from __future__ import annotations

import re
import subprocess

from e2e.cluster import KUBECTL, ROOT, Cluster, run

README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.S)


def test_the_example_works_as_printed(cluster: Cluster) -> None:
    """Every `$ kubectl` and `$ curl` line of the example, in order; each must succeed."""
    commands = [line[2:] for block in blocks("console") for line in block.splitlines() if line.startswith("$ ")]
    example = [line for line in commands if line.startswith(("kubectl", "curl")) and "-w" not in line.split()]
    assert len(example) >= 8
    environment = {**cluster.environment(), "PATH": f"{KUBECTL.parent}:/usr/bin:/bin:/usr/sbin:/sbin"}
    service_ip = ""
    for line in example:
        if "clusterIP" not in line and line.startswith("curl") and "10.96" in line:
            service_ip = cluster.get("service", "web")["spec"]["clusterIP"]
            line = re.sub(r"10\.96\.\d+\.\d+", service_ip, line)
        line = re.sub(
            r"172\.\d+\.\d+\.\d+", cluster.get("nodes")["items"][0]["status"]["addresses"][0]["address"], line
        )
        line = line.replace("exec -it", "exec -i")  # a test has no terminal; test_first_pod tries one
        done = subprocess.run(
            ["bash", "-c", line], capture_output=True, text=True, env=environment, cwd=ROOT, timeout=90
        )
        assert done.returncode == 0, f"$ {line}\n{done.stdout}{done.stderr}"
        if line.startswith("curl"):
            assert re.match(r"Hello from web-\w+-\w+ on node-\d", done.stdout), done.stdout
    assert service_ip


def test_every_flag_is_documented() -> None:
    """Each subcommand and its flags stand in the README's table."""
    from shim.cli import COMMANDS

    for command in COMMANDS:
        assert f"shim {command.name}" in README, command.name


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"`make (\w[\w-]*)`|^make (\w[\w-]*)", README, flags=re.M))
    makefile = (ROOT / "Makefile").read_text()
    for target in {first or second for first, second in targets}:
        assert re.search(rf"^{target}:", makefile, flags=re.M), target


def test_help_is_everywhere() -> None:
    import sys

    from shim.cli import COMMANDS

    for command in COMMANDS:
        shown = run([sys.executable, "-m", "shim", command.name, "--help"]).stdout
        assert shown.startswith(f"usage: shim {command.name}")
    wrong = run([sys.executable, "-m", "shim", "up", "--nonsense"], check=False)
    assert wrong.returncode == 2
    assert len(wrong.stderr.splitlines()) == 1
