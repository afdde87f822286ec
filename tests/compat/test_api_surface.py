"""The public names and parameters of Temporal's Python SDK that this package offers, and those it does not yet.

``api_surface.json`` holds every public name by module with its tier; of core and advanced names also the parameters,
enum values and members. A name counts as present when nothing of it is missing but what is about something niche: Nexus
and the test service, whose own names are niche without exception. What is missing stands in
``expected_missing.txt``: a test fails when something that was there disappears, and when something that came is still
listed. ``python -m tests.compat.test_api_surface`` prints the table, and fails below what :data:`WANTED` says.
"""

from __future__ import annotations

import importlib
import inspect
import json
import sys
from collections import Counter
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

SURFACE: dict[str, dict[str, dict[str, Any]]] = json.loads(
    Path(__file__).with_name("api_surface.json").read_text(encoding="utf-8")
)
EXPECTED_MISSING = set(Path(__file__).with_name("expected_missing.txt").read_text(encoding="utf-8").split())
TIERS = ("core", "advanced", "niche", "types")
WANTED = {"core": 1.0, "advanced": 0.95}

#: Nobody constructs these: the SDK does, and there they are tasks with a task's constructor.
HANDLES = {"workflow.ActivityHandle", "workflow.ChildWorkflowHandle"}


def is_niche(member: str) -> bool:
    """Whether a member of a core or advanced name is about something whose own names are all niche."""
    return "nexus" in member or member in ("test_service", "start_signal_with_start_workflow")


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
        for name in wanted:
            if not name.startswith("_") and name.lstrip("*") not in there:
                yield f"{where}({name})"


def _missing_in(where: str, thing: Any, facts: dict[str, Any]) -> Iterator[str]:
    if where not in HANDLES:
        yield from _missing_parameters(where, thing, facts.get("params"))
    for name, value in facts.get("values", {}).items():
        there = getattr(thing, name, None)
        if there != value and not (isinstance(there, Enum) and there.value == value):
            yield f"{where}.{name}={value}"
    annotated = (name for cls in getattr(thing, "__mro__", ()) for name in inspect.get_annotations(cls))
    fields = {*getattr(thing, "__dataclass_fields__", ()), *annotated}
    for name, parameters in facts.get("members", {}).items():
        if not hasattr(thing, name) and name not in fields:
            yield f"{where}.{name}"
        elif hasattr(thing, name) and not name.startswith("__"):
            yield from _missing_parameters(f"{where}.{name}", getattr(thing, name), parameters)


def _module(name: str) -> Any:
    try:
        return importlib.import_module(f"perdure.{name}")
    except ModuleNotFoundError as error:
        if error.name is not None and f"perdure.{name}".startswith(error.name):
            return None
        pytest.skip(f"perdure.{name} needs {error.name}")


def gaps() -> dict[tuple[str, str], list[str]]:
    """What Temporal's SDK has and this package does not, by module and name; whole names and details."""
    found: dict[tuple[str, str], list[str]] = {}
    for module_name, names in SURFACE.items():
        module = _module(module_name)
        for name, facts in names.items():
            where = f"{module_name}.{name}"
            if module is None or not hasattr(module, name):
                found[module_name, name] = [where]
            elif missing := list(_missing_in(where, getattr(module, name), facts)):
                found[module_name, name] = missing
    return found


def missing() -> set[str]:
    """Everything of core and advanced that is missing, and the other names that are."""
    return {gap for several in gaps().values() for gap in several}


def is_counted(gap: str) -> bool:
    """Whether a gap makes its name count as absent."""
    return not is_niche(gap.rpartition(".")[2].partition("(")[0])


def counts() -> dict[str, tuple[Counter[str], Counter[str]]]:
    """Per module: how many names of each tier are there, and of how many."""
    absent = {key for key, several in gaps().items() if any(map(is_counted, several))}
    return {
        module_name: (
            Counter(facts["tier"] for name, facts in names.items() if (module_name, name) not in absent),
            Counter(facts["tier"] for facts in names.values()),
        )
        for module_name, names in SURFACE.items()
    }


def test_nothing_disappears() -> None:
    assert missing() - EXPECTED_MISSING == set()


def test_what_came_is_no_longer_listed() -> None:
    assert EXPECTED_MISSING - missing() == set()


def _totals(by_module: dict[str, tuple[Counter[str], Counter[str]]]) -> tuple[Counter[str], Counter[str]]:
    there: Counter[str] = Counter()
    of: Counter[str] = Counter()
    for some, all_of in by_module.values():
        there += some
        of += all_of
    return there, of


def test_there_is_enough() -> None:
    there, of = _totals(counts())
    for tier, part in WANTED.items():
        assert there[tier] >= part * of[tier], f"{tier}: {there[tier]} of {of[tier]}"


def main() -> int:
    """Print the table; 1 when less is there than there must be."""
    by_module = counts()
    print(f"{'module':<76}" + "".join(f"{tier:>12}" for tier in TIERS))
    for module_name, (there, of) in by_module.items():
        print(f"{module_name:<76}" + "".join(f"{f'{there[t]}/{of[t]}' if of[t] else '':>12}" for t in TIERS))
    total, wanted = _totals(by_module)
    print(f"{'all':<76}" + "".join(f"{f'{total[t]}/{wanted[t]}':>12}" for t in TIERS))
    print(f"{'':<76}" + "".join(f"{total[t] / wanted[t]:>12.1%}" for t in TIERS))
    niche = [gap for several in gaps().values() for gap in several if not is_counted(gap) and gap.count(".") > 1]
    print(f"not counted: {len(niche)} members of Nexus and the test service")
    if "-v" in sys.argv:
        print(*sorted(missing()), sep="\n")
    return int(any(total[tier] / wanted[tier] < part for tier, part in WANTED.items()))


if __name__ == "__main__":
    sys.exit(main())
