"""Gates: they let so many through a second."""

from __future__ import annotations

from collections.abc import Callable

#: Seconds of the rate that may leave at once.
_BURST_SECONDS = 0.05
_MAX_IDLE_KEYS = 10_000


class Gate:
    """Lets so many through a second."""

    def __init__(self, rate: float, time: Callable[[], float]) -> None:
        self._time = time
        self._last = time()
        self.rate = 0.0
        self._tokens = 0.0
        self.set_rate(rate)

    def set_rate(self, rate: float) -> None:
        """Change the rate; 0 shuts the gate for good."""
        self._refill()
        self.rate = rate
        self._burst = max(1.0, rate * _BURST_SECONDS)
        self._tokens = (min(self._tokens, self._burst) or self._burst) if rate else 0.0

    def _refill(self) -> None:
        now = self._time()
        if self.rate:
            self._tokens = min(self._tokens + (now - self._last) * self.rate, self._burst)
        self._last = now

    def is_open(self) -> bool:
        """Whether one may pass now."""
        if self._tokens < 1.0:
            self._refill()
        return self._tokens >= 1.0

    def take(self) -> None:
        """One passes."""
        self._refill()
        self._tokens -= 1.0

    def give_back(self) -> None:
        """One that passed came back."""
        self._tokens += 1.0

    def delay(self) -> float:
        """Seconds until the next one may pass."""
        return max((1.0 - self._tokens) / self.rate, 0.0) if self.rate else 3600.0

    def is_full(self) -> bool:
        """Whether nothing has passed lately."""
        self._refill()
        return self._tokens >= self._burst


class KeyGates:
    """A gate per fairness key, each with the rate of them all times the key's weight."""

    def __init__(self, rate: float, time: Callable[[], float]) -> None:
        self.rate = rate
        self.time = time
        self._gates: dict[str, Gate] = {}

    def is_open(self, key: str) -> bool:
        """Whether one task of a key may pass now."""
        gate = self._gates.get(key)
        return gate.is_open() if gate is not None else self.rate > 0

    def take(self, key: str, weight: float) -> None:
        """One task of a key, which has a weight, passes."""
        gate = self._gates.get(key)
        if gate is None:
            if len(self._gates) >= _MAX_IDLE_KEYS:
                self._gates = {name: gate for name, gate in self._gates.items() if not gate.is_full()}
            gate = self._gates[key] = Gate(self.rate * weight, self.time)
        elif gate.rate != self.rate * weight:
            gate.set_rate(self.rate * weight)
        gate.take()

    def opens_at(self, key: str) -> float:
        """When the next task of a key may pass."""
        gate = self._gates.get(key)
        delay = gate.delay() if gate is not None else 0.0 if self.rate else 3600.0
        return self.time() + delay
