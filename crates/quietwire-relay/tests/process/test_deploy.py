"""The files in deploy/ fit the relay: options, metrics, unit."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from harness import BINARY, ROOT, Leg, Relay, l16, noise, play

DEPLOY = ROOT / "deploy"
METRIC = re.compile(r"\b(?:quietwire|process)_[a-z0-9_]+\b")


def run(*command: str | Path) -> subprocess.CompletedProcess:
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=60)


def expressions() -> dict[str, str]:
    """Every expression of the dashboard and of the alerts, by its place."""
    dashboard = json.loads((DEPLOY / "grafana-dashboard.json").read_text())
    found = {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in dashboard["panels"]
        for target in panel["targets"]
    }
    found |= {variable["name"]: str(variable["query"]) for variable in dashboard["templating"]["list"]}
    rules = (DEPLOY / "alerts.yml").read_text()
    return found | {"alerts": "\n".join(re.findall(r"expr: (.*(?:\n {10}.*)*)", rules))}


def test_every_metric_of_the_dashboard_and_the_alerts_exists(relay: Relay) -> None:
    leg = Leg(relay, l16(noise(960 * 5)), codec="l16", rate_hz=48000)
    play([leg], range(5))
    text = relay.request("GET", "/metrics").text
    exported = {match[1] for match in re.finditer(r"^# TYPE (\S+) ", text, re.MULTILINE)}
    labels = {name: set(re.findall(r'(\w+)="', rest or "")) for name, rest in re.findall(r"^(\w+)(\{.*\})? ", text, re.M)}
    used = {place: set(METRIC.findall(text)) - {"quietwire_relay"} for place, text in expressions().items()}
    assert sum(map(len, used.values())) > 30
    for place, names in used.items():
        assert names <= exported, place
    # Labels that the expressions group by, except those that Prometheus adds.
    for place, expression in expressions().items():
        for group in re.findall(r"by \(([^)]*)\)", expression):
            known = set().union(*(labels[name] for name in used[place])) | {"instance", "job"}
            assert set(group.replace(" ", "").split(",")) <= known, place


def test_the_exported_metrics_and_the_alerts_pass_promtool(relay: Relay) -> None:
    promtool = shutil.which("promtool")
    if not promtool:
        pytest.skip("promtool is not installed")
    checked = run(promtool, "check", "rules", DEPLOY / "alerts.yml")
    assert checked.returncode == 0, checked.stderr
    relay.create(id="s")
    text = relay.request("GET", "/metrics").text
    checked = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, timeout=60)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_example_file_has_every_option() -> None:
    example = DEPLOY / "relay.toml"
    checked = run(BINARY, "relay", "check-config", "--config", example)
    assert checked.returncode == 0, checked.stderr
    described = re.findall(r"--([a-z-]+) <", run(BINARY, "relay", "--help").stdout)
    options = {option.replace("-", "_") for option in described if option != "config"}
    assert options == set(re.findall(r"^#?(\w+) =", example.read_text(), re.MULTILINE))


def test_the_unit_is_valid_and_hardened(tmp_path: Path) -> None:
    text = (DEPLOY / "quietwire-relay.service").read_text()
    wait = int(re.search(r"^TimeoutStopSec=(\d+)$", text, re.MULTILINE)[1])
    drain = float(re.search(r"^drain_seconds = (\S+)$", (DEPLOY / "relay.toml").read_text(), re.MULTILINE)[1])
    assert wait > drain
    # The command line of the unit is one of the program.
    (start,) = re.findall(r"^ExecStart=\S+ (.*)$", text, re.MULTILINE)
    assert run(BINARY, *start.split(), "--help").returncode == 0
    analyze = shutil.which("systemd-analyze")
    if not analyze:
        pytest.skip("systemd-analyze is not installed")
    unit = tmp_path / "quietwire-relay.service"
    unit.write_text(text.replace("/usr/local/bin/quietwire", BINARY))
    verified = run(analyze, "verify", unit)
    assert (verified.returncode, verified.stderr) == (0, "")
    # 20 of 100: most of what a service that only uses the network can give up.
    secure = run(analyze, "security", "--offline=true", "--threshold=20", unit)
    assert secure.returncode == 0, secure.stdout
