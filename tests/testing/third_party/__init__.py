"""Workflow files with a library at their top. ``loads`` counts how often each was executed."""

from collections import Counter

loads: Counter[str] = Counter()
