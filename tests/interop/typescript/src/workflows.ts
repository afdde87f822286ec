import {
  ActivityFailure,
  allHandlersFinished,
  ApplicationFailure,
  CancellationScope,
  CancelledFailure,
  ChildWorkflowFailure,
  condition,
  continueAsNew,
  defineQuery,
  defineSignal,
  defineUpdate,
  executeChild,
  isCancellation,
  proxyActivities,
  setHandler,
  sleep,
  startChild,
  workflowInfo,
} from "@temporalio/workflow";
import type * as activities from "./activities";

const soon = "20 seconds";
const { TsGreet } = proxyActivities<typeof activities>({ startToCloseTimeout: soon });

/** What a workflow saw of an application error that another SDK raised. */
function failureOf(error: unknown): unknown {
  if (error instanceof ActivityFailure || error instanceof ChildWorkflowFailure) {
    const cause = error.cause;
    if (cause instanceof ApplicationFailure) {
      const [name, number] = cause.details ?? [];
      return { message: cause.message, type: cause.type, name, number };
    }
  }
  throw error;
}

/** Calls one activity of its own task queue. */
export async function TsHello(name: string): Promise<string> {
  return await TsGreet(name);
}

export async function TsFail(name: string): Promise<void> {
  throw ApplicationFailure.nonRetryable(`TypeScript refuses ${name}`, "Refused", name, 7);
}

/** Counts what signals and updates add until it is told to finish; queries see the sum. */
export async function TsCounter(): Promise<number> {
  let sum = 0;
  let isFinished = false;
  setHandler(defineSignal<[number]>("add"), (number) => {
    sum += number;
  });
  setHandler(defineSignal("finish"), () => {
    isFinished = true;
  });
  setHandler(defineQuery<number>("sum"), () => sum);
  setHandler(
    defineUpdate<number, [number]>("add"),
    async (number) => {
      await sleep(1);
      sum += number;
      return sum;
    },
    {
      validator: (number) => {
        if (number < 0) throw ApplicationFailure.create({ message: "only upwards", type: "Negative" });
      },
    },
  );
  await condition(() => isFinished && allHandlersFinished());
  return sum;
}

/** Tells the order in which three timers end, one of them cancelled. */
export async function TsTimers(): Promise<string[]> {
  const order: string[] = [];
  const scope = new CancellationScope();
  const never = scope
    .run(() => sleep("1 hour"))
    .catch((error) => {
      if (isCancellation(error)) order.push("never");
    });
  const slow = sleep(40).then(() => order.push("slow"));
  const quick = sleep(10).then(() => order.push("quick"));
  await Promise.all([slow, quick]);
  scope.cancel();
  await never;
  return order;
}

/** Waits for two children, and signals a third. */
export async function TsParent(): Promise<unknown[]> {
  const greetings = ["a", "b"].map((name) => executeChild(TsHello, { args: [name] }));
  const counter = await startChild(TsCounter);
  await counter.signal("add", 5);
  await counter.signal("finish");
  return [...(await Promise.all(greetings)), await counter.result()];
}

/** Continues as new until nothing is left, and tells the runs it took. */
export async function TsChain(left: number, runs: string[]): Promise<string[]> {
  runs = [...runs, workflowInfo().runId];
  if (left > 0) await continueAsNew<typeof TsChain>(left - 1, runs);
  return runs;
}

/** Calls an activity by its name on another task queue. */
export async function TsActivityElsewhere(taskQueue: string, name: string, argument: string): Promise<unknown> {
  const elsewhere = proxyActivities<Record<string, (argument: string) => Promise<unknown>>>({
    taskQueue,
    startToCloseTimeout: soon,
  });
  try {
    return await elsewhere[name](argument);
  } catch (error) {
    return failureOf(error);
  }
}

/** Runs a child workflow by its name on another task queue. */
export async function TsChildElsewhere(taskQueue: string, name: string, argument: string): Promise<unknown> {
  try {
    return await executeChild(name, { taskQueue, args: [argument] });
  } catch (error) {
    return failureOf(error);
  }
}

/** Cancelled, it says so as a result would not. */
export async function TsCancellable(): Promise<void> {
  try {
    await sleep("1 hour");
  } catch (error) {
    if (!(error instanceof CancelledFailure)) throw new Error("something else");
    throw error;
  }
}
