"""Smoke test of an installed perdure. Run it with the environment's Python from any folder outside the tree.

It imports every module and native extension that was installed, and runs one workflow on a store on disk.
"""

import asyncio
import importlib
import importlib.machinery
import pkgutil
import sys
import tempfile
from datetime import timedelta
from pathlib import Path

import perdure
from perdure import activity, workflow
from perdure.client import Client
from perdure.worker import Worker


@activity.defn
async def greet(name: str) -> str:
    """The one side effect of the smoke workflow."""
    return f"Hello, {name}!"


@workflow.defn
class Smoke:
    """A timer and an activity."""

    @workflow.run
    async def run(self, name: str) -> str:
        """Greet after a moment."""
        await workflow.sleep(0.01)
        return await workflow.execute_activity(greet, name, start_to_close_timeout=timedelta(seconds=10))


async def run_workflow(url: str) -> str:
    """Run the workflow on a store of its own and give back its result."""
    client = await Client.connect(url)
    try:
        async with Worker(client, task_queue="smoke", workflows=[Smoke], activities=[greet]):
            return await client.execute_workflow(Smoke.run, "wheel", id="smoke", task_queue="smoke")
    finally:
        await client.close()


def main() -> None:
    """Fail with a traceback or a sentence; print one line when all is well."""
    home = Path(perdure.__file__).parent
    if "site-packages" not in home.parts:
        sys.exit(f"perdure comes from {home}, not from an installed wheel: run this outside the source tree")
    if not (home / "py.typed").exists():
        sys.exit("py.typed is missing: type checkers would ignore the package")
    modules = [module.name for module in pkgutil.walk_packages(perdure.__path__, "perdure.")]
    for name in modules:
        importlib.import_module(name)
    suffixes = tuple(importlib.machinery.EXTENSION_SUFFIXES)
    native = {path.parent / path.name.split(".")[0] for path in home.rglob("*") if path.name.endswith(suffixes)}
    stubs = {path.with_suffix("") for path in home.rglob("*.pyi")}
    if not native or native != stubs:
        sys.exit(f"native modules {sorted(native)} and stubs {sorted(stubs)} differ")
    strays = [path for path in home.rglob("*") if path.suffix in {".pyx", ".c", ".o"}]
    if strays:
        sys.exit(f"build files were installed: {strays}")
    with tempfile.TemporaryDirectory() as folder:
        print(asyncio.run(run_workflow(f"lmdb:{folder}/store")))
    print(f"ok: {len(modules)} modules, {len(native)} of them native, Python {sys.version.split()[0]}")


if __name__ == "__main__":
    main()
