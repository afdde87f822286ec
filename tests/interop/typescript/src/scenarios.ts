import {
  Client,
  QueryNotRegisteredError,
  ScheduleNotFoundError,
  WithStartWorkflowOperation,
  WorkflowExecutionAlreadyStartedError,
  WorkflowFailedError,
  WorkflowHandle,
  WorkflowNotFoundError,
  WorkflowUpdateFailedError,
  WorkflowUpdateStage,
} from "@temporalio/client";
import { ApplicationFailure, CancelledFailure, TerminatedFailure } from "@temporalio/common";

/** A client with the task queue that it uses. */
export interface Caller {
  client: Client;
  taskQueue: string;
  /** The type of the workflow that counts. */
  counter: string;
}

type Scenario = (caller: Caller) => Promise<unknown>;

async function start(caller: Caller, workflowId: string, type: string, ...args: unknown[]): Promise<WorkflowHandle> {
  return await caller.client.workflow.start(type, { workflowId, taskQueue: caller.taskQueue, args });
}

async function finish(handle: WorkflowHandle): Promise<number> {
  await handle.signal("finish");
  return await handle.result();
}

/** The error that a promise ends with. */
async function errorOf(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error("it did not fail");
}

function causeOf(error: unknown): unknown {
  return error instanceof WorkflowFailedError || error instanceof WorkflowUpdateFailedError ? error.cause : error;
}

function result(type: string, ...args: unknown[]): Scenario {
  return async (caller) => (await start(caller, type, type, ...args)).result();
}

async function signals(caller: Caller): Promise<unknown> {
  const handle = await caller.client.workflow.signalWithStart(caller.counter, {
    workflowId: "signals",
    taskQueue: caller.taskQueue,
    signal: "add",
    signalArgs: [2],
  });
  await handle.signal("add", 3);
  return await finish(handle);
}

async function queries(caller: Caller): Promise<unknown> {
  const handle = await start(caller, "queries", caller.counter);
  const before = await handle.query("sum");
  await handle.signal("add", 4);
  const running = await handle.query("sum");
  await finish(handle);
  const closed = await handle.query("sum");
  const failed = await errorOf(handle.query("nothing of the sort"));
  return [before, running, closed, failed instanceof QueryNotRegisteredError];
}

async function updates(caller: Caller): Promise<unknown> {
  const handle = await start(caller, "updates", caller.counter);
  const results: unknown[] = [];
  for (let turn = 0; turn < 2; turn++) {
    // The second is the first again: it has its id.
    const update = await handle.startUpdate<number, [number]>("add", {
      args: [2],
      updateId: "first",
      waitForStage: WorkflowUpdateStage.ACCEPTED,
    });
    results.push(await update.result());
  }
  const rejected = causeOf(await errorOf(handle.executeUpdate("add", { args: [-1], updateId: "second" })));
  results.push(rejected instanceof ApplicationFailure ? rejected.type : String(rejected));
  results.push(await finish(handle));
  const startWorkflowOperation = new WithStartWorkflowOperation(caller.counter, {
    workflowId: "updates-with-start",
    taskQueue: caller.taskQueue,
    workflowIdConflictPolicy: "USE_EXISTING",
  });
  results.push(await caller.client.workflow.executeUpdateWithStart("add", { args: [9], startWorkflowOperation }));
  await finish(await startWorkflowOperation.workflowHandle());
  return results;
}

async function chain(caller: Caller): Promise<unknown> {
  const handle = await caller.client.workflow.start("TsChain", {
    workflowId: "chain",
    taskQueue: caller.taskQueue,
    args: [2, []],
  });
  const first = handle.firstExecutionRunId;
  const runs: string[] = await handle.result();
  const alone = caller.client.workflow.getHandle("chain", first, { followRuns: false });
  const error = await errorOf(alone.result());
  return [new Set(runs).size, runs[0] === first, error instanceof Error];
}

async function schedules(caller: Caller): Promise<unknown> {
  const handle = await caller.client.schedule.create({
    scheduleId: "hourly",
    spec: { intervals: [{ every: "1 hour" }] },
    action: {
      type: "startWorkflow",
      workflowId: "scheduled",
      workflowType: "TsHello",
      args: ["schedule"],
      taskQueue: caller.taskQueue,
    },
    state: { note: "for a start" },
  });
  await handle.trigger();
  let described = await handle.describe();
  while (described.info.recentActions.length === 0) described = await handle.describe();
  const { workflow } = described.info.recentActions[0].action;
  const greeting = await caller.client.workflow.getHandle(workflow.workflowId).result();
  await handle.pause("a rest");
  await handle.update((previous) => ({ ...previous, spec: { intervals: [{ every: "2 hours" }] } }));
  described = await handle.describe();
  const ids: string[] = [];
  for await (const entry of caller.client.schedule.list()) ids.push(entry.scheduleId);
  await handle.delete();
  const gone = await errorOf(handle.describe());
  return {
    greeting,
    note: described.state.note,
    paused: described.state.paused,
    every: `${(described.spec.intervals ?? [])[0].every / 3_600_000}h0m0s`,
    upcoming: described.info.nextActionTimes.length > 0,
    ids,
    deleted: gone instanceof ScheduleNotFoundError,
  };
}

async function cancelAndTerminate(caller: Caller): Promise<unknown> {
  const cancelled = await start(caller, "cancelled", "TsCancellable");
  await cancelled.cancel();
  const terminated = await start(caller, "terminated", "TsCancellable");
  await terminated.terminate("enough");
  return [
    causeOf(await errorOf(cancelled.result())) instanceof CancelledFailure,
    causeOf(await errorOf(terminated.result())) instanceof TerminatedFailure,
  ];
}

async function history(caller: Caller): Promise<unknown> {
  const handle = await start(caller, "seen", "TsHello", "seen");
  await handle.result();
  const { events } = await handle.fetchHistory();
  const described = await handle.describe();
  return [described.status.name, events?.length, described.historyLength];
}

async function refused(caller: Caller): Promise<unknown> {
  const handle = await start(caller, "twice", caller.counter);
  const known = await errorOf(start(caller, "twice", caller.counter));
  await finish(handle);
  const missing = await errorOf(caller.client.workflow.getHandle("nobody").signal("add", 1));
  const failed = causeOf(await errorOf((await start(caller, "fails", "TsFail", "this")).result()));
  if (!(failed instanceof ApplicationFailure)) throw failed;
  return [
    known instanceof WorkflowExecutionAlreadyStartedError,
    missing instanceof WorkflowNotFoundError,
    failed.type,
    failed.nonRetryable,
  ];
}

export const scenarios: Record<string, Scenario> = {
  hello: result("TsHello", "World"),
  signals,
  queries,
  updates,
  timers: result("TsTimers"),
  children: result("TsParent"),
  "continue-as-new": chain,
  schedules,
  cancel: cancelAndTerminate,
  history,
  errors: refused,
};
