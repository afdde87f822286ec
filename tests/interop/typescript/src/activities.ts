import { ApplicationFailure } from "@temporalio/common";

export async function TsGreet(name: string): Promise<string> {
  return `Hello, ${name}, from TypeScript!`;
}

/** Fails for good, with a type and details. */
export async function TsRefuse(name: string): Promise<void> {
  throw ApplicationFailure.nonRetryable(`TypeScript refuses ${name}`, "Refused", name, 7);
}
