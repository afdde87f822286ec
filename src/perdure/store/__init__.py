"""Stores: where histories, states, timers and tasks live. The contract is :mod:`perdure.store.api`."""
