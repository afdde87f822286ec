"""Rules of the native sources that no linter knows."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NATIVE = ROOT / "native"
CORE = NATIVE / "perdure" / "_native"
SOURCES = sorted([*NATIVE.rglob("*.pyx"), *NATIVE.rglob("*.pxd")])
MODULES = sorted(path.relative_to(NATIVE).with_suffix("") for path in NATIVE.rglob("*.pyx"))

IMPORT = re.compile(r"^\s*(?:from\s+(\S+)\s+c?import|c?import\s+(\S+))", re.MULTILINE)
STRING = re.compile(r'"""(?:[^"\\]|\\.|"(?!""))*"""', re.DOTALL)
FORBIDDEN = {"aiohttp", "logging", "multiprocessing", "requests", "sqlite3", "subprocess"}


@pytest.mark.parametrize("source", [path for path in SOURCES if CORE in path.parents], ids=lambda path: path.name)
def test_native_code_imports_nothing_of_perdure_outside_native(source: Path) -> None:
    text = STRING.sub("", source.read_text())
    names = [first or second for first, second in IMPORT.findall(text)]
    outside = [name for name in names if name.split(".")[0] == "perdure" and not name.startswith("perdure._native")]
    assert not outside
    assert not [name for name in names if name.split(".")[0] in FORBIDDEN]
    assert not [name for name in names if name.startswith(".")], "cimport by absolute name"


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_native_code_has_no_tabs_and_no_compile_time_definitions(source: Path) -> None:
    text = source.read_text()
    assert "\t" not in text
    assert not re.search(r"^DEF ", text, re.MULTILINE), "use cdef enum"


def test_every_native_module_is_built() -> None:
    lists = (NATIVE / "CMakeLists.txt").read_text()
    lines = re.findall(r"^native_module\((\w+)(?: (\S+))?\)", lists, re.MULTILINE)
    assert sorted(Path(folder or "perdure/_native", name) for name, folder in lines) == MODULES


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_every_native_module_has_a_stub(module: Path) -> None:
    assert (ROOT / "src" / module.with_suffix(".pyi")).exists()
