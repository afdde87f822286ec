"""Check an sdist from outside the tree: what it holds, and that a wheel built from it works in an empty environment.

python wheels/test_sdist.py dist/perdure-0.1.0.tar.gz
"""

import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import test_wheel

NEEDED = ["CMakeLists.txt", "LICENSE", "README.md", "native/CMakeLists.txt", "pyproject.toml", "src/perdure/py.typed"]
STRAY = {".so", ".o", ".c", ".pyc", ".whl", ".mdb"}


def check_contents(sdist: Path) -> None:
    """Exit with a sentence when something needed is missing or something built or private came along."""
    with tarfile.open(sdist) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]
    missing = [name for name in NEEDED if name not in names]
    stray = [name for name in names if Path(name).suffix in STRAY or name.startswith((".git/", ".ci/", "build/"))]
    if missing or stray:
        sys.exit(f"{sdist.name}: missing {missing}, stray {stray}")
    if not any(name.startswith("native/perdure/_native/") and name.endswith(".pyx") for name in names):
        sys.exit(f"{sdist.name}: no .pyx files")


def main() -> None:
    """Check the contents, build a wheel from it with isolation, hand that to the wheel test."""
    sdist = Path(sys.argv[1]).resolve()
    check_contents(sdist)
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, sdist],
            cwd=folder,
            check=True,
        )
        test_wheel.check(next(Path(folder).glob("*.whl")))


if __name__ == "__main__":
    main()
