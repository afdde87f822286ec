"""Build the native modules into src/perdure/_native, for working in the tree.

    python tools/develop.py            # then: PYTHONPATH=src python -m pytest
    python tools/develop.py --debug    # C assertions, no optimisation
    python tools/develop.py --sanitize address,undefined

Needs cmake, ninja, cython and cython-cmake (``pip install --group dev``). Repeating it rebuilds what changed.
"""

import argparse
import subprocess
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Configure once per interpreter and kind of build, then build."""
    parser = argparse.ArgumentParser(description="Build the native modules into src/perdure/_native.")
    parser.add_argument("--debug", action="store_true", help="keep C assertions, do not optimise")
    parser.add_argument("--sanitize", default="", metavar="LIST", help="sanitizers, comma-separated")
    options = parser.parse_args()

    spec = find_spec("cython_cmake")
    if spec is None or spec.origin is None:
        sys.exit("cython-cmake is missing in this Python: pip install --group dev")
    kind = "debug" if options.debug else "sanitize" if options.sanitize else "release"
    build = ROOT / "build" / f"{kind}-{sysconfig.get_config_var('SOABI')}"
    configure = [
        "cmake",
        f"-S{ROOT}",
        f"-B{build}",
        "-GNinja",
        f"-DCMAKE_BUILD_TYPE={'Debug' if options.debug else 'Release'}",
        f"-DCMAKE_MODULE_PATH={Path(spec.origin).parent / 'cmake'}",
        f"-DPython_EXECUTABLE={sys.executable}",
        "-DPERDURE_IN_PLACE=ON",
        f"-DPERDURE_DEBUG={'ON' if options.debug else 'OFF'}",
        f"-DPERDURE_SANITIZE={options.sanitize}",
    ]
    subprocess.run(configure, check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["cmake", "--build", build], check=True)


if __name__ == "__main__":
    main()
