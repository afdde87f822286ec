"""The public names and parameters of Temporal's Python SDK that this package offers, and those it does not yet.

``api_surface.json`` holds, per module, the core names with their parameters, enum values and members. What is missing
here stands in ``EXPECTED_MISSING``: the test fails when something that was there disappears, and when something that
came is still listed. Run as a script, it prints the table.
"""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SURFACE = json.loads(Path(__file__).with_name("api_surface.json").read_text())
EXPECTED_MISSING = set(Path(__file__).with_name("expected_missing.txt").read_text().split())


def _parameters(function: Any) -> set[str] | None:
    """None: it takes any keyword, or has no signature to be seen."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return None
    return {parameter.name for parameter in parameters}


def _missing_parameters(where: str, function: Any, wanted: list[str] | None) -> Iterator[str]:
    there = None if wanted is None else _parameters(function)
    if there is not None and wanted is not None:
        yield from (f"{where}({name})" for name in wanted if name.lstrip("*") not in there)


def _missing_in(where: str, thing: Any, facts: dict[str, Any]) -> Iterator[str]:
    yield from _missing_parameters(where, thing, facts.get("params"))
    for name, value in facts.get("values", {}).items():
        if getattr(thing, name, None) != value:
            yield f"{where}.{name}={value}"
    fields = {*getattr(thing, "__dataclass_fields__", ()), *getattr(thing, "__annotations__", ())}
    for name, parameters in facts.get("members", {}).items():
        if not hasattr(thing, name) and name not in fields:
            yield f"{where}.{name}"
        elif hasattr(thing, name):
            yield from _missing_parameters(f"{where}.{name}", getattr(thing, name), parameters)


def missing() -> set[str]:
    """What Temporal's SDK has and this package does not."""
    found: set[str] = set()
    for module_name, names in SURFACE.items():
        module = importlib.import_module(f"perdure.{module_name}")
        for name, facts in names.items():
            where = f"{module_name}.{name}"
            if hasattr(module, name):
                found.update(_missing_in(where, getattr(module, name), facts))
            else:
                found.add(where)
    return found


def test_nothing_disappears() -> None:
    assert missing() - EXPECTED_MISSING == set()


def test_what_came_is_no_longer_listed() -> None:
    assert EXPECTED_MISSING - missing() == set()


if __name__ == "__main__":
    gaps = missing()
    print(f"{'module':<12}{'names':>7}{'missing names':>15}{'missing details':>17}")
    for module_name, names in SURFACE.items():
        absent = [gap for gap in gaps if gap.partition(".")[0] == module_name]
        whole = [gap for gap in absent if gap.count(".") == 1 and "(" not in gap]
        print(f"{module_name:<12}{len(names):>7}{len(whole):>15}{len(absent) - len(whole):>17}")
    print(*sorted(gaps), sep="\n")
