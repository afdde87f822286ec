"""The workflows that keep the limits, by type: where a worker finds what nobody registers."""

from __future__ import annotations

from perdure.limits._concurrency import Lease, Semaphore
from perdure.limits._debounce import Debouncer
from perdure.limits._rate_limit import RateLimiter
from perdure.workflow._definition import _Definition

BY_TYPE: dict[str, _Definition] = {
    str(definition.name): definition
    for definition in map(_Definition.must_from_class, (Lease, Semaphore, RateLimiter, Debouncer))
}
