/**
 * Temporal's TypeScript SDK at work against a server, for tests/interop/test_typescript.py.
 *
 *     node lib/main.js bundle         makes the workflows ready for workers, once
 *     node lib/main.js worker         works until its input ends; says "ready" when it polls
 *     node lib/main.js scenario NAME  does what a client does, and prints a line of JSON with what it saw
 *     node lib/main.js replay ID      replays a history that it fetches from the server
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Client, Connection } from "@temporalio/client";
import { bundleWorkflowCode, DefaultLogger, NativeConnection, Runtime, Worker } from "@temporalio/worker";
import * as activities from "./activities";
import { scenarios } from "./scenarios";

const workflowBundle = { codePath: join(__dirname, "bundle.js") };

async function bundle(): Promise<void> {
  const { code } = await bundleWorkflowCode({ workflowsPath: require.resolve("./workflows") });
  writeFileSync(workflowBundle.codePath, code);
}

async function work(address: string, taskQueue: string): Promise<void> {
  const connection = await NativeConnection.connect({ address });
  try {
    const worker = await Worker.create({ connection, taskQueue, workflowBundle, activities });
    const ended = new Promise<void>((resolve) => {
      process.stdin.on("end", resolve).resume();
    });
    await worker.runUntil(async () => {
      console.log("ready");
      await ended;
    });
  } finally {
    await connection.close();
  }
}

async function run(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      address: { type: "string", default: "127.0.0.1:7233" },
      queue: { type: "string", default: "typescript" },
      counter: { type: "string", default: "TsCounter" },
    },
  });
  Runtime.install({ logger: new DefaultLogger("ERROR") });
  const [command, name] = positionals;
  if (command === "bundle") return await bundle();
  if (command === "worker") return await work(values.address, values.queue);
  const connection = await Connection.connect({ address: values.address });
  try {
    const client = new Client({ connection });
    let outcome: unknown;
    if (command === "replay") {
      const history = await client.workflow.getHandle(name).fetchHistory();
      await Worker.runReplayHistory({ workflowBundle }, history, name);
      outcome = { events: history.events?.length };
    } else if (command === "scenario" && scenarios[name]) {
      outcome = await scenarios[name]({ client, taskQueue: values.queue, counter: values.counter });
    } else {
      throw new Error("say bundle, worker, scenario NAME or replay WORKFLOW_ID");
    }
    console.log(JSON.stringify(outcome));
  } finally {
    await connection.close();
  }
}

run().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
