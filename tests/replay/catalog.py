"""The features of this folder, their recorded histories, and their workflows under either SDK."""

import importlib.util
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Golden:
    """One recorded history: `<feature>/<case>.<producer>.json`."""

    feature: str
    case: str
    producer: str
    path: Path

    def __str__(self) -> str:
        return f"{self.feature}/{self.case}.{self.producer}"

    @property
    def is_python(self) -> bool:
        return self.producer.startswith("python")


def features() -> list[str]:
    """Every feature with workflows in Python."""
    return sorted(path.parent.name for path in HERE.glob("*/workflow.py"))


def goldens() -> list[Golden]:
    """Every recorded history."""
    found = []
    for path in sorted(HERE.glob("*/*.json")):
        case, producer = path.name.removesuffix(".json").split(".", 1)
        found.append(Golden(path.parent.name, case, producer, path))
    return found


def load(feature: str, sdk: str) -> ModuleType:
    """The feature's `workflow.py` with `sdk` ("temporalio" or "perdure") behind its imports."""
    name = f"replay_{sdk}_{feature}"
    if name in sys.modules:
        return sys.modules[name]
    before = os.environ.get("REPLAY_SDK"), sys.modules.pop("sdk", None)
    os.environ["REPLAY_SDK"] = sdk
    try:
        sys.modules["sdk"] = _load(f"replay_{sdk}", HERE / "sdk.py")
        return _load(name, HERE / feature / "workflow.py")
    finally:
        del os.environ["REPLAY_SDK"], sys.modules["sdk"]
        if before[0] is not None:
            os.environ["REPLAY_SDK"] = before[0]
        if before[1] is not None:
            sys.modules["sdk"] = before[1]


def _load(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
