"""Temporal's Web UI over the server, driven in a headless Chromium, when PERDURE_INTEROP=1 asks for it.

Needs Go (it builds the UI's server from ``ui/go.mod``; ``PERDURE_UI_SERVER`` names one that is there), Chromium and
playwright. With ``PERDURE_UI_SCREENSHOTS=FOLDER`` each page that a test looks at is left there as a picture.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from perdure.api.workflowservice import v1 as ws
from perdure.cli._web_ui import WebUI
from perdure.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleIntervalSpec,
    ScheduleSpec,
    WorkflowExecutionStatus,
    WorkflowHandle,
)
from perdure.common import WorkerDeploymentVersion
from perdure.server import Server
from perdure.service import RPCError
from perdure.worker import Worker, WorkerDeploymentConfig
from tests.interop import web_programs as programs

playwright = pytest.importorskip("playwright.async_api", reason="needs playwright: pip install --group interop")

GO = shutil.which("go")
UI_SERVER = os.environ.get("PERDURE_UI_SERVER")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SCREENSHOTS = os.environ.get("PERDURE_UI_SCREENSHOTS")
pytestmark = [
    pytest.mark.skipif(
        os.environ.get("PERDURE_INTEROP") != "1" or CHROMIUM is None or (GO is None and UI_SERVER is None),
        reason="set PERDURE_INTEROP=1 on a machine with Chromium and Go to run this; it may download Temporal's Web UI",
    ),
    # Building the UI's server, starting a browser, and pages that load some MB of code.
    pytest.mark.timeout(180),
]
#: Nothing of a browser reaches beyond the machine.
_SWITCHES = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
_PATIENCE_MS = 30_000


class Tab:
    """A tab of the browser that shows the UI, and fails the test when a request or a script of the UI does."""

    def __init__(self, page: Any, url: str, name: str) -> None:
        self.page = page
        self._url = url
        self._name = name
        self._pictures = 0
        self.troubles: list[str] = []
        page.set_default_timeout(_PATIENCE_MS)
        page.on("response", self._on_response)
        page.on("pageerror", lambda error: self.troubles.append(f"script: {error}"))

    def _on_response(self, response: Any) -> None:
        if response.status >= 400:
            self.troubles.append(f"{response.status} {response.request.method} {response.url}")

    async def open(self, path: str) -> None:
        """A page of the default namespace, ``workflows/order``, or of the whole with a slash in front."""
        await self.page.goto(self._url + (path if path.startswith("/") else f"/namespaces/default/{path}"))
        await self.page.get_by_role("link", name="Namespaces").first.wait_for()

    async def shows(self, *texts: str, within: str = "main, body") -> None:
        """Wait until each text is to be seen; take a picture."""
        for text in texts:
            await self.page.locator(within).first.get_by_text(text).locator("visible=true").first.wait_for()
        await self.picture()

    async def picture(self) -> None:
        """Leave a picture of what is to be seen, where pictures are wanted."""
        if SCREENSHOTS:
            self._pictures += 1
            await self.page.screenshot(path=Path(SCREENSHOTS, f"{self._name}-{self._pictures}.png"))

    async def click(self, name: str, role: str = "button") -> None:
        await self.page.get_by_role(role, name=name, exact=True).locator("visible=true").first.click()

    async def fill(self, field: str, value: str) -> None:
        await self.page.locator(f"#{field}").fill(value)

    async def act(self, item: str) -> Any:
        """A workflow's action from its menu: the dialog that asks for more."""
        await self.click("More Actions")
        await self.click(item, "menuitem")
        return self.dialog()

    def dialog(self) -> Any:
        return self.page.locator("dialog[open]")

    async def choose(self, button: Any, option: str) -> None:
        """Open a drop-down list and take an entry."""
        await button.click()
        await self.page.get_by_role("option", name=option).locator("visible=true").first.click()

    async def confirm(self, button: str, **fields: str) -> None:
        """Fill in the open dialog and press one of its buttons."""
        dialog = self.dialog()
        for label, value in fields.items():
            await dialog.get_by_label(label).fill(value)
        await dialog.get_by_role("button", name=button, exact=True).click()
        await dialog.wait_for(state="detached")

    async def write(self, label: str, text: str) -> None:
        """Type into an editor for JSON."""
        await self.page.get_by_label(label).locator("visible=true").last.click()
        await self.page.keyboard.type(text)


@pytest.fixture(scope="session")
def ui_server(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The UI's server, built once."""
    if UI_SERVER is not None:
        return UI_SERVER
    path = tmp_path_factory.mktemp("ui") / "ui-server"
    built = subprocess.run(
        [str(GO), "build", "-C", str(Path(__file__).parent / "ui"), "-buildvcs=false", "-o", str(path),
         "github.com/temporalio/ui-server/v2/cmd/server"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    return str(path)


@pytest.fixture
def home(tmp_path: Path) -> str:
    return f"lmdb:{tmp_path / 'store'}"


@pytest.fixture
async def client(server: Server, home: str) -> AsyncIterator[Client]:
    async with await Client.connect(home) as connected, programs.working(connected):
        yield connected


@pytest.fixture
async def tab(ui_server: str, server: Server, request: pytest.FixtureRequest) -> AsyncIterator[Tab]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    async with contextlib.AsyncExitStack() as stack:
        ui = await stack.enter_async_context(WebUI(ui_server, "127.0.0.1", port, server.address, None, "default"))
        driver = await stack.enter_async_context(playwright.async_playwright())
        browser = await driver.chromium.launch(executable_path=CHROMIUM, args=_SWITCHES)
        stack.push_async_callback(browser.close)
        page = await browser.new_page(viewport={"width": 1500, "height": 1100})
        shown = Tab(page, ui.url, request.node.name)
        yield shown
        await shown.picture()
    assert shown.troubles == []


async def start(client: Client, id: str = "order") -> WorkflowHandle[Any, Any]:
    """An order that waits for its activity's next attempt and for a signal."""
    handle = await client.start_workflow(
        programs.Order.run, {"items": [1, 2], "who": "Ann"}, id=id, task_queue="shop", memo={"from": "the shop"},
        static_summary="An **order**", static_details="Two *items*",
    )  # fmt: skip
    await handle.execute_update(programs.Order.ready)
    return handle


async def status(handle: WorkflowHandle[Any, Any]) -> WorkflowExecutionStatus | None:
    return (await handle.describe()).status


async def becomes(handle: WorkflowHandle[Any, Any], expected: WorkflowExecutionStatus) -> None:
    with contextlib.suppress(Exception):
        await handle.result()
    assert await status(handle) is expected


async def test_lists_and_filters(tab: Tab, client: Client) -> None:
    await start(client)
    for number in range(3):
        await client.execute_workflow(programs.Hello.run, "you", id=f"hello-{number}", task_queue="shop")
    await tab.open("workflows")
    await tab.shows("5 Workflows", "1 Running", "4 Completed", "hello-2", "order-child")
    await tab.open("workflows?query=WorkflowType%3D%22Hello%22+AND+WorkflowId+STARTS_WITH+%22hello%22")
    await tab.shows("3 Workflows", "hello-0")
    assert await tab.page.get_by_text("order-child").count() == 0
    await tab.open("workflows")
    await tab.page.get_by_test_id("running").click()
    await tab.shows("1 Workflow", "order")


async def test_one_workflow(tab: Tab, client: Client) -> None:
    await start(client)
    await tab.open("workflows/order")
    await tab.shows("Timeline", "Ann", "flaky", "Results will appear upon completion.")
    for path, texts in {
        "history": (
            "Timer Started",
            "Child Workflow Execution Completed",
            "Pending Activity",
            "Activity Task Scheduled",
        ),
        "workers": ("the shop's worker",),
        "relationships": ("order-child",),
        "pending-activities": ("flaky", "card declined", "Heartbeat Details", "halfway", "the shop's worker"),
        "call-stack": ("wait_condition", "web_programs.py"),
        "user-metadata": ("Summary", "Current Details"),
        "memo": ("the shop",),
        "search-attributes": ("Search Attributes",),
    }.items():
        handle = client.get_workflow_handle("order")
        run_id = (await handle.describe()).run_id
        await tab.open(f"workflows/order/{run_id}/{path}")
        await tab.shows(*texts)
        if path == "user-metadata":  # Markdown is shown in frames of its own
            for number, text in enumerate(("An order", "Two items", "waiting for payment")):
                await tab.page.frame_locator("iframe").nth(number).get_by_text(text).wait_for()
    await tab.open(f"workflows/order/{run_id}/query")
    await tab.click("Run Query")
    await tab.shows("paid: never")


async def test_the_views_of_a_history(tab: Tab, client: Client) -> None:
    await client.execute_workflow(programs.Hello.run, "you", id="hello", task_queue="shop")
    await tab.open("workflows/hello")
    await tab.shows("Completed", "Hello, you!")
    run_id = (await client.get_workflow_handle("hello").describe()).run_id
    await tab.open(f"workflows/hello/{run_id}/history")
    await tab.shows("Workflow Execution Completed", "Activity Task Completed")
    await tab.page.get_by_text("Compact", exact=True).click()
    await tab.shows("greet")
    await tab.page.get_by_text("JSON", exact=True).click()
    await tab.shows("workflowExecutionStartedEventAttributes")


async def test_actions_on_a_workflow(tab: Tab, client: Client) -> None:
    handle = await start(client)
    await tab.open("workflows/order")
    dialog = await tab.act("Send an Update")
    await tab.choose(dialog.locator("button:has(input[id*=update])"), "add")
    await tab.write("Data", "7")
    await tab.confirm("Submit")
    assert await handle.query(programs.Order.total) == 7

    dialog = await tab.act("Send a Signal")
    await tab.choose(dialog.locator("button:has(#signal-select)"), "finish")
    await tab.write("Data", '"well"')
    await tab.confirm("Submit")
    assert await handle.result() == "shipped well"
    await tab.shows("Completed", "shipped well")

    await tab.click("Reset")
    await tab.choose(tab.dialog().get_by_test_id("workflow-reset-event-id-select-button"), "WorkflowTaskCompleted")
    await tab.dialog().get_by_role("textbox").last.fill("once more")
    await tab.confirm("Confirm")
    await tab.shows("This Workflow has been reset")
    again = client.get_workflow_handle("order")
    assert await again.result() == "shipped well"


async def test_ends_of_a_workflow(tab: Tab, client: Client) -> None:
    cancelled, terminated = await start(client, "cancelled"), await start(client, "terminated")
    await tab.open("workflows/cancelled")
    await tab.act("Request Cancellation")
    await tab.confirm("Confirm")
    await becomes(cancelled, WorkflowExecutionStatus.CANCELED)
    await tab.shows("Canceled")
    await tab.open("workflows/terminated")
    dialog = await tab.act("Terminate")
    await dialog.get_by_role("textbox").fill("enough")
    await tab.confirm("Terminate")
    await becomes(terminated, WorkflowExecutionStatus.TERMINATED)
    await tab.shows("Terminated", "enough")


async def test_starting_a_workflow(tab: Tab, client: Client) -> None:
    await tab.open("workflows/start-workflow")
    await tab.fill("workflowId", "from-the-page")
    await tab.fill("taskQueue", "shop")
    await tab.fill("workflowType", "Hello")
    await tab.write("Data", '"page"')
    await tab.shows("Task Queue is Active")
    await tab.click("Start Workflow")
    await tab.shows("Workflow started")
    assert await client.get_workflow_handle("from-the-page").result() == "Hello, page!"


async def test_pausing(tab: Tab, client: Client) -> None:
    handle = await start(client)
    run_id = (await handle.describe()).run_id
    await tab.open(f"workflows/order/{run_id}/pending-activities")
    await tab.click("Pause")
    await tab.confirm("Confirm" if await tab.dialog().get_by_role("button", name="Confirm").count() else "Pause")
    await tab.shows("Unpause", "Paused")
    (activity,) = (await handle.describe()).raw_description.pending_activities
    assert activity.paused
    await tab.click("Unpause")
    await tab.confirm("Confirm" if await tab.dialog().get_by_role("button", name="Confirm").count() else "Unpause")
    await tab.shows("Scheduled")
    (activity,) = (await handle.describe()).raw_description.pending_activities
    assert not activity.paused


async def test_schedules(tab: Tab, client: Client) -> None:
    await tab.open("schedules/create")
    await tab.fill("name", "from-the-page")
    await tab.fill("workflowType", "Hello")
    await tab.fill("workflowId", "scheduled")
    await tab.fill("taskQueue", "shop")
    await tab.write("JSON Data", '"schedule"')
    await tab.click("Every hour")
    await tab.click("Create Schedule")
    await tab.shows("1 Schedule", "from-the-page", "Hello")
    await tab.open("schedules/from-the-page")
    await tab.shows("Running", "5 Upcoming Runs", "schedule")
    await tab.click("Pause")
    await tab.dialog().get_by_role("textbox").fill("a rest")
    await tab.confirm("Pause")
    await tab.shows("Paused")
    await tab.page.locator("#schedule-actions-menu-button").click()
    await tab.click("Trigger", "menuitem")
    await tab.confirm("Trigger")
    await tab.shows("1 Recent Run")
    handle = client.get_schedule_handle("from-the-page")
    description = await handle.describe()
    assert description.schedule.state.paused
    assert description.schedule.state.note == "a rest"
    assert len(description.info.recent_actions) == 1
    await tab.page.locator("#schedule-actions-menu-button").click()
    await tab.click("Delete", "menuitem")
    await tab.confirm("Delete")
    await tab.shows("0 Schedules")


async def test_a_schedule_of_a_program(tab: Tab, client: Client) -> None:
    action = ScheduleActionStartWorkflow(programs.Hello.run, "you", id="hello", task_queue="shop")
    spec = ScheduleSpec(intervals=[ScheduleIntervalSpec(every=programs.HOUR)])
    await client.create_schedule("hourly", Schedule(action, spec), trigger_immediately=True)
    await tab.open("schedules")
    await tab.shows("hourly", "Every 1 hour")
    await tab.open("schedules/hourly")
    await tab.shows("1 Recent Run", "Completed", "Every 1 hour")


async def test_batches(tab: Tab, client: Client) -> None:
    handles = [await start(client, f"order-{number}") for number in range(3)]
    await tab.open("workflows?query=ExecutionStatus%3D%22Running%22")
    await tab.shows("3 Workflows")
    await tab.page.locator("thead input[type=checkbox]").first.click(force=True)
    await tab.page.get_by_role("button", name="Terminate", exact=True).locator("visible=true").first.click()
    await tab.dialog().get_by_role("textbox").first.fill("closing time")
    await tab.confirm("Terminate")
    for handle in handles:
        await becomes(handle, WorkflowExecutionStatus.TERMINATED)
    await tab.open("batch-operations")
    await tab.shows("Terminate", "Completed")
    await tab.page.locator("tbody a").first.click()
    await tab.shows("closing time", "3")


async def test_namespaces_and_task_queues(tab: Tab, client: Client) -> None:
    await tab.open("/namespaces")
    await tab.shows("default")
    await tab.open("/namespaces/default")
    await tab.shows("3 days", "1.32.0", "ExecutionStatus", "Disabled")
    await tab.open("task-queues/shop")
    await tab.shows("the shop's worker")


async def test_nexus_endpoints(tab: Tab, client: Client) -> None:
    await tab.open("/nexus/create")
    await tab.fill("name", "payments")
    await tab.choose(tab.page.locator("#target-namespace"), "default")
    await tab.fill("task-queue", "shop")
    await tab.click("Create Nexus Endpoint")
    await tab.page.get_by_role("link", name="payments").click()
    await tab.shows("payments")


async def test_activities_alone(tab: Tab, client: Client) -> None:
    result = await client.execute_activity(
        programs.greet, "alone", id="activity", task_queue="shop", start_to_close_timeout=programs.HOUR
    )
    assert result == "Hello, alone!"
    await tab.open("activities")
    await tab.shows("1 Standalone Activity", "greet", "Completed")
    await tab.page.get_by_role("link", name="activity", exact=True).first.click()
    await tab.shows("greet", "Hello, alone!")


async def test_workers_and_deployments(tab: Tab, client: Client) -> None:
    await tab.open("workers")
    await tab.shows("1 Worker", "Running", "shop", "the shop's worker")
    version = WorkerDeploymentVersion("kitchen", "1.0")
    config = WorkerDeploymentConfig(version=version, use_worker_versioning=True)
    async with Worker(client, task_queue="kitchen", activities=[programs.greet], deployment_config=config):
        while not await versions_of(client, "kitchen"):
            await asyncio.sleep(0.01)
        await client.workflow_service.set_worker_deployment_current_version(
            ws.SetWorkerDeploymentCurrentVersionRequest("default", "kitchen", build_id="1.0", identity="me")
        )
        await tab.open("workers/deployments")
        await tab.shows("kitchen", "1.0")
        await tab.open("workers/deployments/kitchen")
        await tab.shows("kitchen", "1.0", "Current")


async def versions_of(client: Client, name: str) -> int:
    """How many versions of a deployment are known."""
    try:
        described = await client.workflow_service.describe_worker_deployment(
            ws.DescribeWorkerDeploymentRequest("default", name)
        )
    except RPCError:
        return 0
    assert described.worker_deployment_info is not None
    return len(described.worker_deployment_info.version_summaries)
