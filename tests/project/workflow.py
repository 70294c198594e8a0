"""Runs the steps of a GitHub workflow or composite action locally, in order, as a hosted runner does.

A ``run`` step is bash in the workspace with the runner's files and variables. A ``uses`` step of the action under test
runs the action's steps; other ``uses`` steps have the outputs that the test gives, and one without is an error.
Expressions are ``inputs.NAME`` and ``steps.ID.outputs.NAME``; any other is refused.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

_EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")


@dataclass
class Outcome:
    """``outputs`` of the last action or workflow, ``summary`` in Markdown, ``log``: everything printed."""

    outputs: dict[str, str] = field(default_factory=dict)
    summary: str = ""
    log: str = ""
    failed: str = ""  # the first step that failed, with its exit code
    steps: dict[str, dict[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Runner:
    """``stubs``: outputs of actions that are not run; ``actions``: folders of actions that are; both by ``uses``.

    ``replaced``: scripts to run instead of those of named steps.
    """

    workspace: Path
    temporary: Path
    environment: Mapping[str, str]
    stubs: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    actions: Mapping[str, Path] = field(default_factory=dict)
    replaced: Mapping[str, str] = field(default_factory=dict)

    def action(self, folder: Path, given: Mapping[str, Any]) -> Outcome:
        """Run a composite action with the given inputs."""
        record = yaml.safe_load((folder / "action.yml").read_text())
        assert record["runs"]["using"] == "composite"
        assert set(given) <= set(record["inputs"]), "the action has no such input"
        inputs = {}
        for name, described in record["inputs"].items():
            assert name in given or not described.get("required"), f"input {name} is required"
            inputs[name] = str(given.get(name, described.get("default", "")))
        assert all("shell" in step for step in record["runs"]["steps"] if "run" in step)
        outcome = self.steps(record["runs"]["steps"], inputs, folder)
        for name, described in record["outputs"].items():
            outcome.outputs[name] = _substituted(described["value"], inputs, outcome.steps)
        return outcome

    def steps(self, steps: Sequence[Mapping[str, Any]], inputs: Mapping[str, str], folder: Path) -> Outcome:
        """Run steps in order; after a failed step, only those with ``if: always()``."""
        outcome = Outcome()
        for step in steps:
            if outcome.failed and step.get("if") != "always()":
                continue
            given = {k: _substituted(str(v), inputs, outcome.steps) for k, v in step.get("with", {}).items()}
            if "run" in step:
                result = self._run(step, inputs, outcome.steps, folder)
            elif step["uses"] in self.actions:
                result = self.action(self.actions[step["uses"]], given)
            else:
                result = Outcome(dict(self.stubs[step["uses"]]))
            outcome.summary, outcome.log = outcome.summary + result.summary, outcome.log + result.log
            outcome.failed = outcome.failed or result.failed
            if "id" in step:
                outcome.steps[step["id"]] = result.outputs
        return outcome

    def _run(
        self, step: Mapping[str, Any], inputs: Mapping[str, str], done: Mapping[str, Any], folder: Path
    ) -> Outcome:
        files = {name: self.temporary / f"file_{name.lower()}" for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
        for path in files.values():
            path.write_text("")
        runner = {"RUNNER_TEMP": str(self.temporary), "GITHUB_ACTION_PATH": str(folder), "CI": "true"}
        own = {name: _substituted(str(value), inputs, done) for name, value in step.get("env", {}).items()}
        script = self.temporary / "script.sh"
        script.write_text(self.replaced.get(step.get("name", ""), "") or _substituted(step["run"], inputs, done))
        ran = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)],
            cwd=self.workspace,
            env={**self.environment, **runner, **{k: str(v) for k, v in files.items()}, **own},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        outputs = dict(line.split("=", 1) for line in files["GITHUB_OUTPUT"].read_text().splitlines())
        failed = f"{step.get('name', step['run'])}: exit code {ran.returncode}" if ran.returncode else ""
        return Outcome(outputs, files["GITHUB_STEP_SUMMARY"].read_text(), ran.stdout, failed)


def _substituted(text: str, inputs: Mapping[str, str], steps: Mapping[str, Mapping[str, str]]) -> str:
    """Substitute expressions as the runner does: an unset output is empty. An unknown step is an error here."""

    def value(match: re.Match[str]) -> str:
        words = match[1].split(".")
        if words[0] == "inputs" and len(words) == 2:
            return inputs[words[1]]
        if words[0] == "steps" and words[2] == "outputs" and len(words) == 4:
            return steps[words[1]].get(words[3], "")
        raise AssertionError(f"unsupported expression {match[0]}")

    return _EXPRESSION.sub(value, text)


def outside_environment(home: Path, *first_on_path: Path, **more: str) -> dict[str, str]:
    """Return the variables of a job in another repository: of this process only those that configure pip."""
    named = ("PIP_", "SSL_", "LANG", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")
    kept = {name: value for name, value in os.environ.items() if name.startswith(named)}
    kept["XDG_CONFIG_HOME"] = os.environ.get("XDG_CONFIG_HOME", str(Path.home() / ".config"))
    path = os.pathsep.join([*map(str, first_on_path), "/usr/local/bin", "/usr/bin", "/bin"])
    return {**kept, "PATH": path, "HOME": str(home), **more}
