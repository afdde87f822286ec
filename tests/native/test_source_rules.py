"""Rules of the native sources that no linter knows."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NATIVE = ROOT / "native" / "perdure" / "_native"
SOURCES = sorted([*NATIVE.glob("*.pyx"), *NATIVE.glob("*.pxd")])
MODULES = sorted(path.stem for path in NATIVE.glob("*.pyx"))

IMPORT = re.compile(r"^\s*(?:from\s+(\S+)\s+c?import|c?import\s+(\S+))", re.MULTILINE)
STRING = re.compile(r'"""(?:[^"\\]|\\.|"(?!""))*"""', re.DOTALL)
FORBIDDEN = {"aiohttp", "logging", "multiprocessing", "requests", "sqlite3", "subprocess"}


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
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


def test_every_native_module_is_built_and_has_a_stub() -> None:
    built = re.findall(r"^native_module\((\w+)\)", (ROOT / "native" / "CMakeLists.txt").read_text(), re.MULTILINE)
    stubs = [path.stem for path in (ROOT / "src" / "perdure" / "_native").glob("*.pyi")]
    assert sorted(built) == MODULES
    assert sorted(stubs) == MODULES
