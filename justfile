# The words that people, pre-commit and CI share. `just` lists them; the tools come from
# `pip install --group lint --group coverage --group wheel` (pip 25.1 or newer).

python := env("PYTHON", "python3")

_default:
    @just --list

# Build the extensions into src/, for working in the tree with PYTHONPATH=src.
develop:
    {{ python }} tools/develop.py

# The whole test suite.
test *args:
    {{ python }} -m pytest {{ args }}

# Everything that must be clean before a commit.
lint: ruff mypy pyright stubtest imports cython-lint codespell workflows

ruff:
    {{ python }} -m ruff check
    {{ python }} -m ruff format --check

format:
    {{ python }} -m ruff check --fix
    {{ python }} -m ruff format

mypy:
    {{ python }} -m mypy

# Temporal's public names against ours, as a table; fails below 100% of core or 95% of advanced.
surface *args:
    PYTHONPATH=src {{ python }} -m tests.compat.test_api_surface {{ args }}

# The second type checker; its wheel brings its own JavaScript engine.
pyright:
    {{ python }} -m pyright --pythonpath "$({{ python }} -c 'import sys; print(sys.executable)')"

# The stubs of the native modules against what was built (needs perdure installed or `just develop`).
stubtest:
    {{ python }} -m mypy.stubtest perdure._native perdure.store.lmdb._api perdure.store.lmdb._batch perdure.store.lmdb._column perdure.store.lmdb._entries perdure.store.lmdb._gather perdure.store.lmdb._index perdure.store.lmdb._lmdb perdure.store.lmdb._log perdure.store.lmdb._program perdure.store.lmdb._select perdure.store.lmdb._writer --ignore-missing-stub --ignore-disjoint-bases

# Who imports whom, as pyproject.toml lays down.
imports:
    PYTHONPATH=src lint-imports --no-logo --no-cache

cython-lint:
    cython-lint native/perdure

codespell:
    codespell

# The workflow files: their schema, and what zizmor knows of unsafe ones.
workflows:
    check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
    zizmor --offline --quiet .github/workflows

# Line coverage of .py and .pyx together, in a virtual environment of its own.
coverage *args:
    {{ python }} tools/coverage.py {{ args }}

# The suite on a build with AddressSanitizer and UndefinedBehaviorSanitizer (gcc, Linux).
sanitize *args:
    {{ python }} tools/sanitize.py {{ args }}

# Build a wheel, give it its manylinux tag, and smoke-test it and the sdist in empty environments.
wheel:
    {{ python }} wheels/build_here.py

# The cluster's campaign: 200 faults of processes, connections and the database.
torture-postgres *args:
    {{ python }} tests/postgres/torture.py {{ args }}

# The kill -9 campaign: 500 kills over a mixed load.
torture *args:
    {{ python }} tests/torture/crash.py {{ args }}

# perdure against every peer that is installed: benchmarks/README.md.
bench *args:
    {{ python }} -m benchmarks {{ args }}
