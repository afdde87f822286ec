"""Install a wheel into an empty virtual environment and smoke-test it from outside the tree.

python wheels/test_wheel.py dist/perdure-*.whl
"""

import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

SMOKE = Path(__file__).resolve().parent / "smoke.py"


def check(wheel: Path) -> None:
    """Raise CalledProcessError when installing or running fails."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        venv.create(home / "venv", with_pip=True)
        python = home / "venv" / "bin" / "python"
        # Only the copy is seen from there: no source tree beside the script, no PYTHONPATH.
        shutil.copy(SMOKE, home)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        for command in (["-m", "pip", "install", "--quiet", wheel], [home / "smoke.py"]):
            subprocess.run([python, *command], cwd=home, env=environment, check=True)
    print(f"{wheel.name}: installs and works", flush=True)


def main() -> None:
    """Check each wheel named on the command line."""
    for name in sys.argv[1:]:
        check(Path(name).resolve())


if __name__ == "__main__":
    main()
