"""The fixtures, as a project sees them that has perdure installed."""

from __future__ import annotations

from importlib.metadata import entry_points

import pytest

pytest_plugins = ["pytester"]

WORKFLOW = """
import asyncio
from perdure import activity, workflow
from perdure.worker import Worker

@workflow.defn
class Year:
    @workflow.run
    async def run(self) -> str:
        await asyncio.sleep(365 * 24 * 3600)
        return "happy"

async def year(client):
    async with Worker(client, task_queue="tq", workflows=[Year]):
        return await client.execute_workflow(Year.run, id="year", task_queue="tq")
"""

TESTS = """
import pytest
from perdure import activity
from perdure.testing import ActivityEnvironment
from project import year

MARK
async def test_skipping(time_skipping_environment, perdure_client):
    assert time_skipping_environment.supports_time_skipping
    assert perdure_client is time_skipping_environment.client
    assert await year(perdure_client) == "happy"

MARK
async def test_real_clock(workflow_environment):
    assert not workflow_environment.supports_time_skipping
    await workflow_environment.sleep(0)

def test_activity(activity_environment):
    assert isinstance(activity_environment, ActivityEnvironment)
    assert activity_environment.run(lambda: activity.info().activity_id) == "test"
"""

#: An installed perdure brings the plugin by its entry point; in a source tree it has to be named.
IS_INSTALLED = any(entry_points(group="pytest11", name="perdure"))
PLUGIN = ("-p", "no:cacheprovider", *(() if IS_INSTALLED else ("-p", "perdure.testing.pytest_plugin")))


@pytest.mark.parametrize("mode", ["auto", "strict"])
def test_fixtures(pytester: pytest.Pytester, mode: str) -> None:
    pytester.makepyfile(
        project=WORKFLOW, test_it=TESTS.replace("MARK", "@pytest.mark.asyncio" if mode == "strict" else "")
    )
    pytester.makeini(f"[pytest]\nasyncio_mode = {mode}\nasyncio_default_fixture_loop_scope = function")
    result = pytester.runpytest_subprocess(*PLUGIN, "-W", "error")
    result.assert_outcomes(passed=3)


def test_the_plugin_costs_nothing_until_a_fixture_is_used(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys

        def test_nothing():
            assert "perdure.testing.pytest_plugin" in sys.modules
            assert not {"perdure.engine", "perdure.worker", "perdure.client"} & sys.modules.keys()
        """
    )
    pytester.runpytest_subprocess(*PLUGIN).assert_outcomes(passed=1)


def test_it_works_without_pytest_asyncio(pytester: pytest.Pytester) -> None:
    pytest.importorskip("anyio")
    pytester.makepyfile(project=WORKFLOW, test_it=TESTS.replace("MARK", "@pytest.mark.anyio"))
    pytester.makeconftest(
        """
        import pytest

        @pytest.fixture
        def anyio_backend():
            return "asyncio"
        """
    )
    pytester.makepyfile(block="import sys; sys.modules['pytest_asyncio'] = None")
    result = pytester.runpytest_subprocess("-p", "block", "-p", "no:asyncio", *PLUGIN)
    result.assert_outcomes(passed=3)
