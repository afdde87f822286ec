"""The compiled core: no I/O, no clock, no randomness of its own. Its modules are described in docs/architecture.md."""
