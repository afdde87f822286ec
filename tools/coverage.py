"""Line coverage of the whole package, .pyx files included, in a virtual environment of its own.

    python tools/coverage.py                     # the whole suite
    python tools/coverage.py tests/native -k ids # any pytest arguments

The report is printed, with the lines that were missed, and written to build/coverage/coverage.xml and html/.
A traced build is several times slower than a real one: it is no place for benchmarks.
"""

import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / "build" / "coverage"


def main() -> None:
    """Build with tracing, run pytest under coverage, report; the exit code is pytest's."""
    python = HOME / "venv" / "bin" / "python"
    if not python.exists():
        venv.create(HOME / "venv", with_pip=True)
        pip(python, "--upgrade", "pip>=25.1")
    pip(python, "--group", "coverage")
    tracing = ["-Ccmake.define.PERDURE_COVERAGE=ON", f"-Cbuild-dir={HOME / 'cmake'}"]
    pip(python, ".[test]", *tracing)

    environment = os.environ | {"COVERAGE_FILE": str(HOME / "data")}

    def coverage(*args: str) -> int:
        return subprocess.run([python, "-m", "coverage", *args], cwd=ROOT, env=environment, check=False).returncode

    # Traced code is slow enough to reach time limits that a real build never sees.
    failed = coverage("run", "-m", "pytest", "-p", "no:cacheprovider", "--timeout=600", *sys.argv[1:])
    coverage("report", "--show-missing")
    coverage("xml", "-q", "-o", str(HOME / "coverage.xml"))
    coverage("html", "-q", "-d", str(HOME / "html"))
    sys.exit(failed)


def pip(python: Path, *args: str) -> None:
    """Run pip quietly in that environment."""
    subprocess.run([python, "-m", "pip", "install", "--quiet", *args], cwd=ROOT, check=True)


if __name__ == "__main__":
    main()
