"""The test suite on native modules built with AddressSanitizer and UndefinedBehaviorSanitizer.

    python tools/sanitize.py                 # any pytest arguments may follow

Linux with gcc. It builds into an environment of its own under build/: the one in use stays as it is.
Leaks are not looked for: the interpreter itself keeps memory until it exits.
"""

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / "build" / "sanitize"


def main() -> None:
    """Build in an environment of its own, then run pytest with the sanitizers' runtime loaded first."""
    python = HOME / "venv" / "bin" / "python"
    if not python.exists():
        venv.create(HOME / "venv", with_pip=True)
    options = [
        "-Ccmake.define.PERDURE_SANITIZE=address,undefined",
        "-Cinstall.strip=false",
        f"-Cbuild-dir={HOME / 'cmake'}",
    ]
    subprocess.run([python, "-m", "pip", "install", "--quiet", ".[test]", *options], cwd=ROOT, check=True)
    environment = os.environ | {
        "LD_PRELOAD": " ".join(runtime(name) for name in ("libasan.so", "libubsan.so")),
        "ASAN_OPTIONS": "detect_leaks=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        # Python's own arenas would hide what lies beyond the end of an object.
        "PYTHONMALLOC": "malloc",
    }
    command = [python, "-m", "pytest", "-p", "no:cacheprovider", "--timeout=600", "--benchmark-disable", *sys.argv[1:]]
    sys.exit(subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode)


def runtime(name: str) -> str:
    """The path of a sanitizer's library, as the compiler knows it."""
    compiler = os.environ.get("CC") or shutil.which("gcc") or "cc"
    found = subprocess.run([compiler, f"-print-file-name={name}"], check=True, capture_output=True, text=True)
    return found.stdout.strip()


if __name__ == "__main__":
    main()
