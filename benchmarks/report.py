"""The printed table: one block per workload, one line per peer, ratios against perdure's lines."""

from __future__ import annotations

from typing import Any

# Per workload: the metrics worth a column, their headings, and whether more is better.
COLUMNS: dict[str, tuple[tuple[str, str, bool], ...]] = {
    "one_activity": (
        ("workflows_per_s", "workflows/s", True),
        ("p50_ms", "p50 ms", False),
        ("p99_ms", "p99 ms", False),
    ),
    "chain": (("steps_per_s", "steps/s", True),),
    "fan_out": (("activities_per_s", "activities/s", True), ("seconds", "seconds", False)),
    "signals": (("signals_per_s", "signals/s", True),),
    "replay": (("events_per_s", "events/s", True),),
    "sleeping": (
        ("workflows", "workflows", True),
        ("started_per_s", "started/s", True),
        ("bytes_per_workflow", "bytes each", False),
    ),
    "start_up": (("import_s", "import s", False), ("first_result_s", "first result s", False)),
    "install_size": (("installed_mib", "MiB", False),),
}


def columns(workload: str) -> tuple[tuple[str, str, bool], ...]:
    return next(found for name, found in COLUMNS.items() if workload.startswith(name))


def number(value: float) -> str:
    """Three significant figures, no exponents."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.3g}"


def table(results: dict[str, Any], against: str = "perdure, lmdb full") -> str:
    """Text for a terminal. `x12` beside a peer's number: the chosen line is twelve times better."""
    lines = [
        " ".join(f"{name}={value}" for name, value in results["machine"].items()),
        f"Ratios: how many times better {against!r} is.",
    ]
    rows = results["rows"]
    width = max((len(row["title"]) for row in rows), default=10)
    for workload in dict.fromkeys(row["workload"] for row in rows):
        found = [row for row in rows if row["workload"] == workload]
        base = next((row for row in found if row["title"] == against and row["status"] == "ok"), None)
        heads = columns(workload)
        lines += ["", workload]
        lines.append("  ".join(["".ljust(width), *(f"{head:>22}" for _, head, _ in heads), "  survives"]))
        for row in found:
            if row["status"] != "ok":
                lines.append(f"{row['title'].ljust(width)}  {row['status']}: {row['note']}".rstrip(": "))
                continue
            cells = [_cell(row, base, metric, more) for metric, _, more in heads]
            lines.append("  ".join([row["title"].ljust(width), *cells, f"  {row['durability']}"]))
    return "\n".join(lines)


def _cell(row: dict[str, Any], base: dict[str, Any] | None, metric: str, more: bool) -> str:
    value = row["metrics"].get(metric)
    if value is None:
        return "-".rjust(22)
    ratio = ""
    if base is not None and base is not row and metric != "workflows":
        ours = base["metrics"].get(metric)
        if ours and value:
            ratio = f"x{number(ours / value if more else value / ours)}"
    return f"{number(value):>13} {ratio:>8}"
