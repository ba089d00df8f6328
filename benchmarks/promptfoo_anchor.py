"""promptfoo as an anchor: installed from its lock file into an ignored folder, run without anything that calls home."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.commands import ROOT, Arguments, Timed, clean_environment, timed
from benchmarks.harness import Incomplete, Skipped, say
from benchmarks.prompt_flows import MAX_TOKENS, MODEL, QUESTION, SYSTEM

FOLDER = ROOT / ".sluice" / "benchmarks" / "promptfoo"
SOURCES = ("package.json", "package-lock.json")
TIMEOUT_SECONDS = 300.0
_INSTALL = ("--ignore-scripts", "--no-audit", "--no-fund", "--omit=optional")
_QUIET = {
    "PROMPTFOO_DISABLE_TELEMETRY": "1",
    "PROMPTFOO_DISABLE_UPDATE": "1",
    "PROMPTFOO_DISABLE_SHARING": "1",
    "PROMPTFOO_DISABLE_REMOTE_GENERATION": "1",
    "PROMPTFOO_CACHE_ENABLED": "false",
    "PROMPTFOO_SELF_HOSTED": "1",
    "PROMPTFOO_DISABLE_DEBUG_LOG": "1",  # its log files now and then end it with "write after end"
    "PROMPTFOO_DISABLE_ERROR_LOG": "1",
}


def install() -> Path:
    """The command, installed if need be. Raises `Skipped` if there is no node or npm, or no registry answers."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        raise Skipped("promptfoo needs node and npm, which are not installed")
    ready = FOLDER / "ready"
    sources = [(Path(__file__).parent / name).read_text() for name in SOURCES]
    if not ready.exists() or ready.read_text() != sources[1]:
        say("installing promptfoo")
        shutil.rmtree(FOLDER, ignore_errors=True)
        FOLDER.mkdir(parents=True)
        for name, text in zip(SOURCES, sources, strict=True):
            (FOLDER / name).write_text(text)
        _npm([npm, "ci"])
        _npm([npm, "install", "--no-save", _native(json.loads(sources[1]))])
        ready.write_text(sources[1])
    return FOLDER / "node_modules" / ".bin" / "promptfoo"


def version() -> str:
    """The pinned version, and node's if it is there."""
    lock = json.loads((Path(__file__).parent / SOURCES[1]).read_text())
    node = shutil.which("node")
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout if node else "without"
    return f"{lock['packages']['node_modules/promptfoo']['version']} on node {said.strip()}"


@dataclass(frozen=True, slots=True)
class Promptfoo:
    """The rows of `data` through one prompt and one provider, `-j` requests at a time, again and again."""

    command: Path
    folder: Path
    data: Path
    in_flight: int

    def run(self, model_url: str) -> Timed:
        """Run every row. Raises `Incomplete` unless all of them were answered."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        (self.folder / "promptfooconfig.json").write_text(json.dumps(self._config(model_url)))
        options = ["--no-cache", "--no-write", "--no-table", "--no-progress-bar", "--no-share", "-o", "answers.json"]
        argv: Arguments = [self.command, "eval", "-c", "promptfooconfig.json", "-j", str(self.in_flight), *options]
        compiled = FOLDER / "compiled"  # node's counterpart to compiled bytecode, from version 22 on
        environment = clean_environment(
            self.folder, PROMPTFOO_CONFIG_DIR=str(self.folder / "state"), NODE_COMPILE_CACHE=str(compiled), **_QUIET
        )
        done = timed(argv, cwd=self.folder, environment=environment, timeout_seconds=TIMEOUT_SECONDS)
        _check(json.loads((self.folder / "answers.json").read_text()), len(self.data.read_text().splitlines()))
        return done

    def _config(self, model_url: str) -> dict[str, Any]:
        provider = {"apiBaseUrl": f"{model_url}/v1", "apiKey": "none", "temperature": 0, "max_tokens": MAX_TOKENS}
        messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": QUESTION}]
        rows = [json.loads(line) for line in self.data.read_text().splitlines()]
        return {
            "prompts": [json.dumps(messages)],
            "providers": [{"id": f"openai:chat:{MODEL}", "config": provider}],
            "tests": [{"vars": row} for row in rows],
        }


def _check(answers: dict[str, Any], rows: int) -> None:
    results = answers["results"]["results"]
    answered = [r for r in results if r["success"] and r["response"]["output"] and not r["response"].get("cached")]
    if len(answered) != rows:
        raise Incomplete(f"promptfoo answered {len(answered)} of {rows} rows")


def _npm(argv: list[str]) -> None:
    done = subprocess.run([*argv, *_INSTALL], cwd=FOLDER, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Skipped(f"{' '.join(argv[:2])} failed: {done.stderr.strip()[-300:]}")


def _native(lock: dict[str, Any]) -> str:
    """The part of its database that is made for this machine: all it needs of two gigabytes of optional dependencies."""
    system = platform.system().lower()
    cpu = {"x86_64": "x64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    name = f"@libsql/{system}-{cpu}" + ("-gnu" if system == "linux" else "")
    try:
        return f"{name}@{lock['packages'][f'node_modules/{name}']['version']}"
    except KeyError:
        raise Skipped(f"promptfoo has no database for this machine ({name})") from None
