package interop;

import io.grpc.Status;
import io.temporal.api.enums.v1.WorkflowExecutionStatus;
import io.temporal.api.enums.v1.WorkflowIdConflictPolicy;
import io.temporal.client.UpdateOptions;
import io.temporal.client.WorkflowClient;
import io.temporal.client.WorkflowExecutionAlreadyStarted;
import io.temporal.client.WorkflowExecutionDescription;
import io.temporal.client.WorkflowNotFoundException;
import io.temporal.client.WorkflowOptions;
import io.temporal.client.WorkflowQueryException;
import io.temporal.client.WorkflowStub;
import io.temporal.client.WorkflowUpdateStage;
import io.temporal.client.schedules.Schedule;
import io.temporal.client.schedules.ScheduleActionExecutionStartWorkflow;
import io.temporal.client.schedules.ScheduleActionStartWorkflow;
import io.temporal.client.schedules.ScheduleClient;
import io.temporal.client.schedules.ScheduleDescription;
import io.temporal.client.schedules.ScheduleHandle;
import io.temporal.client.schedules.ScheduleIntervalSpec;
import io.temporal.client.schedules.ScheduleOptions;
import io.temporal.client.schedules.ScheduleSpec;
import io.temporal.client.schedules.ScheduleState;
import io.temporal.client.schedules.ScheduleUpdate;
import io.temporal.failure.ApplicationFailure;
import io.temporal.failure.CanceledFailure;
import io.temporal.failure.TerminatedFailure;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.function.Supplier;

/** What a client does, and what it sees. */
record Scenarios(WorkflowClient client, String queue, String counter) {
  Map<String, Supplier<Object>> all() {
    Map<String, Supplier<Object>> all = new TreeMap<>();
    all.put("hello", () -> start("hello", "JavaHello", "World").getResult(Object.class));
    all.put("signals", this::signals);
    all.put("queries", this::queries);
    all.put("updates", this::updates);
    all.put("timers", () -> start("timers", "JavaTimers").getResult(Object.class));
    all.put("children", () -> start("children", "JavaParent").getResult(Object.class));
    all.put("continue-as-new", this::chain);
    all.put("schedules", this::schedules);
    all.put("cancel", this::cancelAndTerminate);
    all.put("history", this::history);
    all.put("errors", this::refused);
    return all;
  }

  private WorkflowOptions.Builder options(String id) {
    return WorkflowOptions.newBuilder().setWorkflowId(id).setTaskQueue(queue);
  }

  private WorkflowStub stub(String id, String type) {
    return client.newUntypedWorkflowStub(type, options(id).build());
  }

  private WorkflowStub start(String id, String type, Object... arguments) {
    WorkflowStub stub = stub(id, type);
    stub.start(arguments);
    return stub;
  }

  private static int finish(WorkflowStub stub) {
    stub.signal("finish");
    return stub.getResult(Integer.class);
  }

  /** What an action fails with. */
  private static RuntimeException failureOf(Runnable action) {
    try {
      action.run();
    } catch (RuntimeException failure) {
      return failure;
    }
    throw new IllegalStateException("it did not fail");
  }

  private Object signals() {
    WorkflowStub stub = stub("signals", counter);
    stub.signalWithStart("add", new Object[] {2}, new Object[] {});
    stub.signal("add", 3);
    return finish(stub);
  }

  private Object queries() {
    WorkflowStub stub = start("queries", counter);
    int before = stub.query("sum", Integer.class);
    stub.signal("add", 4);
    int running = stub.query("sum", Integer.class);
    finish(stub);
    int closed = stub.query("sum", Integer.class);
    RuntimeException failed = failureOf(() -> stub.query("nothing of the sort", Integer.class));
    return List.of(before, running, closed, failed instanceof WorkflowQueryException);
  }

  private static UpdateOptions.Builder<Integer> update(String id, WorkflowUpdateStage stage) {
    return UpdateOptions.newBuilder(Integer.class).setUpdateName("add").setUpdateId(id).setWaitForStage(stage);
  }

  private Object updates() {
    WorkflowStub stub = start("updates", counter);
    List<Object> results = new ArrayList<>();
    for (int turn = 0; turn < 2; turn++) { // The second is the first again: it has its id.
      results.add(stub.startUpdate(update("first", WorkflowUpdateStage.ACCEPTED).build(), 2).getResult());
    }
    Throwable rejected = failureOf(() -> stub.update("add", Integer.class, -1)).getCause();
    results.add(rejected instanceof ApplicationFailure failure ? failure.getType() : String.valueOf(rejected));
    results.add(finish(stub));
    WorkflowOptions running = options("updates-with-start")
        .setWorkflowIdConflictPolicy(WorkflowIdConflictPolicy.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING)
        .build();
    WorkflowStub other = client.newUntypedWorkflowStub(counter, running);
    UpdateOptions<Integer> options = update("with-start", WorkflowUpdateStage.COMPLETED).build();
    results.add(other.executeUpdateWithStart(options, new Object[] {9}, new Object[] {}));
    finish(other);
    return results;
  }

  private Object chain() {
    WorkflowStub stub = start("chain", "JavaChain", 2, List.of());
    String first = stub.getExecution().getRunId();
    List<?> runs = stub.getResult(List.class);
    WorkflowExecutionDescription alone =
        client.newUntypedWorkflowStub("chain", Optional.of(first), Optional.empty()).describe();
    boolean continued = alone.getStatus() == WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW;
    return List.of(new HashSet<>(runs).size(), runs.get(0).equals(first), continued);
  }

  private static ScheduleSpec every(int hours) {
    return ScheduleSpec.newBuilder().setIntervals(List.of(new ScheduleIntervalSpec(Duration.ofHours(hours)))).build();
  }

  private Object schedules() {
    ScheduleClient schedules = ScheduleClient.newInstance(client.getWorkflowServiceStubs());
    ScheduleActionStartWorkflow action = ScheduleActionStartWorkflow.newBuilder()
        .setWorkflowType("JavaHello")
        .setArguments("schedule")
        .setOptions(options("scheduled").build())
        .build();
    Schedule schedule = Schedule.newBuilder()
        .setAction(action)
        .setSpec(every(1))
        .setState(ScheduleState.newBuilder().setNote("for a start").build())
        .build();
    ScheduleHandle handle = schedules.createSchedule("hourly", schedule, ScheduleOptions.newBuilder().build());
    handle.trigger();
    ScheduleDescription described = handle.describe();
    while (described.getInfo().getRecentActions().isEmpty()) {
      described = handle.describe();
    }
    ScheduleActionExecutionStartWorkflow started =
        (ScheduleActionExecutionStartWorkflow) described.getInfo().getRecentActions().get(0).getAction();
    Map<String, Object> seen = new TreeMap<>();
    seen.put("greeting", client.newUntypedWorkflowStub(started.getWorkflowId()).getResult(String.class));
    handle.pause("a rest");
    handle.update(input ->
        new ScheduleUpdate(Schedule.newBuilder(input.getDescription().getSchedule()).setSpec(every(2)).build()));
    described = handle.describe();
    ScheduleState state = described.getSchedule().getState();
    seen.put("note", state.getNote());
    seen.put("paused", state.isPaused());
    Duration every = described.getSchedule().getSpec().getIntervals().get(0).getEvery();
    seen.put("every", every.toHours() + "h0m0s");
    seen.put("upcoming", !described.getInfo().getNextActionTimes().isEmpty());
    seen.put("ids", schedules.listSchedules().map(entry -> entry.getScheduleId()).toList());
    handle.delete();
    Throwable gone = failureOf(handle::describe);
    boolean isMissing = false;
    for (; gone != null; gone = gone.getCause()) {
      isMissing |= Status.fromThrowable(gone).getCode() == Status.Code.NOT_FOUND;
    }
    seen.put("deleted", isMissing);
    return seen;
  }

  private Object cancelAndTerminate() {
    WorkflowStub cancelled = start("cancelled", counter);
    cancelled.cancel();
    Throwable first = failureOf(() -> cancelled.getResult(Object.class)).getCause();
    WorkflowStub terminated = start("terminated", counter);
    terminated.terminate("enough");
    Throwable second = failureOf(() -> terminated.getResult(Object.class)).getCause();
    return List.of(first instanceof CanceledFailure, second instanceof TerminatedFailure);
  }

  private Object history() {
    WorkflowStub stub = start("seen", "JavaHello", "seen");
    stub.getResult(Object.class);
    WorkflowExecutionDescription described = stub.describe();
    String status = described.getStatus().name().replace("WORKFLOW_EXECUTION_STATUS_", "");
    return List.of(status, client.fetchHistory("seen").getEvents().size(), described.getHistoryLength());
  }

  private Object refused() {
    WorkflowStub stub = start("twice", counter);
    RuntimeException known = failureOf(() -> start("twice", counter));
    finish(stub);
    RuntimeException missing = failureOf(() -> client.newUntypedWorkflowStub("nobody").signal("add", 1));
    WorkflowStub fails = start("fails", "JavaFail", "this");
    ApplicationFailure failed = (ApplicationFailure) failureOf(() -> fails.getResult(Object.class)).getCause();
    return List.of(
        known instanceof WorkflowExecutionAlreadyStarted,
        missing instanceof WorkflowNotFoundException,
        failed.getType(),
        failed.isNonRetryable());
  }
}
