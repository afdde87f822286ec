"""The programs of the other SDKs, built from the folders beside this file where their tools are."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

HERE = Path(__file__).parent


class Language(NamedTuple):
    """An SDK whose program can be built."""

    name: str
    """As its greetings say."""
    prefix: str
    """What the names of its workflows and activities begin with."""
    tools: tuple[str, ...]
    """What must be on the PATH."""
    build: Callable[[Path], list[str]]
    """Build it, using a folder where need be; the command that starts it."""
    dashes: str = "-"

    def missing(self) -> str:
        """Why it cannot be built here; empty when it can."""
        absent = [tool for tool in self.tools if shutil.which(tool) is None]
        if os.environ.get("PERDURE_INTEROP") != "1" or absent:
            tools = " and ".join(self.tools)
            return f"set PERDURE_INTEROP=1 on a machine with {tools} to run this; it may download Temporal's SDK"
        return ""


def _run(*command: str, within: Path) -> None:
    done = subprocess.run(command, cwd=within, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"


def _go(folder: Path) -> list[str]:
    _run("go", "build", "-buildvcs=false", "-o", str(folder / "interop"), ".", within=HERE / "go")
    return [str(folder / "interop")]


def _typescript(folder: Path) -> list[str]:
    project = HERE / "typescript"
    if not (project / "node_modules").is_dir():
        _run("npm", "install", "--no-package-lock", "--no-audit", "--no-fund", within=project)
    _run("npx", "tsc", "--outDir", str(folder), within=project)
    # Modules are looked for beside the file that asks for them.
    (folder / "node_modules").symlink_to(project / "node_modules")
    _run("node", str(folder / "main.js"), "bundle", within=project)
    return ["node", str(folder / "main.js")]


def _java(folder: Path) -> list[str]:
    project = HERE / "java"
    _run("mvn", "-B", "-q", f"-DbuildDirectory={folder}", "compile", "dependency:copy-dependencies", within=project)
    return ["java", "-cp", f"{folder / 'classes'}{os.pathsep}{folder / 'dependency' / '*'}", "interop.Main"]


GO = Language("Go", "Go", ("go",), _go)
TYPESCRIPT = Language("TypeScript", "Ts", ("node", "npm"), _typescript, "--")
JAVA = Language("Java", "Java", ("java", "mvn"), _java)
LANGUAGES = (GO, TYPESCRIPT, JAVA)

_built: dict[str, list[str]] = {}


def command(language: Language, factory: pytest.TempPathFactory) -> list[str]:
    """What starts the language's program, which is built once in a session."""
    if language.name not in _built:
        _built[language.name] = language.build(factory.mktemp(language.name.lower()))
    return _built[language.name]
