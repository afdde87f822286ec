package interop;

import io.temporal.activity.ActivityOptions;
import io.temporal.failure.ActivityFailure;
import io.temporal.failure.ApplicationFailure;
import io.temporal.failure.CanceledFailure;
import io.temporal.failure.ChildWorkflowFailure;
import io.temporal.failure.TemporalFailure;
import io.temporal.workflow.Async;
import io.temporal.workflow.CancellationScope;
import io.temporal.workflow.ChildWorkflowOptions;
import io.temporal.workflow.Promise;
import io.temporal.workflow.QueryMethod;
import io.temporal.workflow.SignalMethod;
import io.temporal.workflow.UpdateMethod;
import io.temporal.workflow.UpdateValidatorMethod;
import io.temporal.workflow.Workflow;
import io.temporal.workflow.WorkflowInterface;
import io.temporal.workflow.WorkflowMethod;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

final class Workflows {
  static final Class<?>[] ALL = {
    HelloImpl.class, FailImpl.class, CounterImpl.class, TimersImpl.class, ParentImpl.class, ChainImpl.class,
    ActivityElsewhereImpl.class, ChildElsewhereImpl.class,
  };

  private Workflows() {}

  private static ActivityOptions.Builder soon() {
    return ActivityOptions.newBuilder().setStartToCloseTimeout(Duration.ofSeconds(20));
  }

  /** What a workflow saw of an application error that another SDK raised. */
  private static Map<String, Object> failureOf(TemporalFailure failure) {
    if (!(failure.getCause() instanceof ApplicationFailure cause)) {
      throw failure;
    }
    Map<String, Object> seen = new TreeMap<>();
    seen.put("message", cause.getOriginalMessage());
    seen.put("type", cause.getType());
    seen.put("name", cause.getDetails().get(0, String.class));
    seen.put("number", cause.getDetails().get(1, Integer.class));
    return seen;
  }

  /** Calls one activity of its own task queue. */
  @WorkflowInterface
  public interface Hello {
    @WorkflowMethod(name = "JavaHello")
    String run(String name);
  }

  public static class HelloImpl implements Hello {
    @Override
    public String run(String name) {
      return Workflow.newActivityStub(Activities.class, soon().build()).greet(name);
    }
  }

  @WorkflowInterface
  public interface Fail {
    @WorkflowMethod(name = "JavaFail")
    void run(String name);
  }

  public static class FailImpl implements Fail {
    @Override
    public void run(String name) {
      throw Activities.refusal(name);
    }
  }

  /** Counts what signals and updates add until it is told to finish; queries see the sum. */
  @WorkflowInterface
  public interface Counter {
    @WorkflowMethod(name = "JavaCounter")
    int run();

    @SignalMethod(name = "add")
    void addBySignal(int number);

    @SignalMethod
    void finish();

    @QueryMethod
    int sum();

    @UpdateMethod
    int add(int number);

    @UpdateValidatorMethod(updateName = "add")
    void refuseNegative(int number);
  }

  public static class CounterImpl implements Counter {
    private int sum;
    private boolean isFinished;

    @Override
    public int run() {
      Workflow.await(() -> isFinished && Workflow.isEveryHandlerFinished());
      return sum;
    }

    @Override
    public void addBySignal(int number) {
      sum += number;
    }

    @Override
    public void finish() {
      isFinished = true;
    }

    @Override
    public int sum() {
      return sum;
    }

    @Override
    public int add(int number) {
      Workflow.sleep(Duration.ofMillis(1));
      sum += number;
      return sum;
    }

    @Override
    public void refuseNegative(int number) {
      if (number < 0) {
        throw ApplicationFailure.newFailure("only upwards", "Negative");
      }
    }
  }

  /** Tells the order in which three timers end, one of them cancelled. */
  @WorkflowInterface
  public interface Timers {
    @WorkflowMethod(name = "JavaTimers")
    List<String> run();
  }

  public static class TimersImpl implements Timers {
    @Override
    public List<String> run() {
      List<String> order = new ArrayList<>();
      List<Promise<Void>> never = new ArrayList<>();
      CancellationScope scope = Workflow.newCancellationScope(
          () -> never.add(Workflow.newTimer(Duration.ofHours(1)).handle((nothing, error) -> {
            if (error instanceof CanceledFailure) {
              order.add("never");
            }
            return null;
          })));
      scope.run();
      Promise<Boolean> slow = Workflow.newTimer(Duration.ofMillis(40)).thenApply(nothing -> order.add("slow"));
      Promise<Boolean> quick = Workflow.newTimer(Duration.ofMillis(10)).thenApply(nothing -> order.add("quick"));
      Promise.allOf(slow, quick).get();
      scope.cancel();
      never.get(0).get();
      return order;
    }
  }

  /** Waits for two children, and signals a third. */
  @WorkflowInterface
  public interface Parent {
    @WorkflowMethod(name = "JavaParent")
    List<Object> run();
  }

  public static class ParentImpl implements Parent {
    @Override
    public List<Object> run() {
      List<Promise<String>> greetings = new ArrayList<>();
      for (String name : List.of("a", "b")) {
        greetings.add(Async.function(Workflow.newChildWorkflowStub(Hello.class)::run, name));
      }
      Counter counter = Workflow.newChildWorkflowStub(Counter.class);
      Promise<Integer> sum = Async.function(counter::run);
      Workflow.getWorkflowExecution(counter).get();
      counter.addBySignal(5);
      counter.finish();
      List<Object> results = new ArrayList<>();
      greetings.forEach(greeting -> results.add(greeting.get()));
      results.add(sum.get());
      return results;
    }
  }

  /** Continues as new until nothing is left, and tells the runs it took. */
  @WorkflowInterface
  public interface Chain {
    @WorkflowMethod(name = "JavaChain")
    List<String> run(int left, List<String> runs);
  }

  public static class ChainImpl implements Chain {
    @Override
    public List<String> run(int left, List<String> runs) {
      List<String> more = new ArrayList<>(runs);
      more.add(Workflow.getInfo().getRunId());
      return left > 0 ? Workflow.newContinueAsNewStub(Chain.class).run(left - 1, more) : more;
    }
  }

  /** Calls an activity by its name on another task queue. */
  @WorkflowInterface
  public interface ActivityElsewhere {
    @WorkflowMethod(name = "JavaActivityElsewhere")
    Object run(String queue, String name, String argument);
  }

  public static class ActivityElsewhereImpl implements ActivityElsewhere {
    @Override
    public Object run(String queue, String name, String argument) {
      ActivityOptions options = soon().setTaskQueue(queue).build();
      try {
        return Workflow.newUntypedActivityStub(options).execute(name, Object.class, argument);
      } catch (ActivityFailure failure) {
        return failureOf(failure);
      }
    }
  }

  /** Runs a child workflow by its name on another task queue. */
  @WorkflowInterface
  public interface ChildElsewhere {
    @WorkflowMethod(name = "JavaChildElsewhere")
    Object run(String queue, String name, String argument);
  }

  public static class ChildElsewhereImpl implements ChildElsewhere {
    @Override
    public Object run(String queue, String name, String argument) {
      ChildWorkflowOptions options = ChildWorkflowOptions.newBuilder().setTaskQueue(queue).build();
      try {
        return Workflow.newUntypedChildWorkflowStub(name, options).execute(Object.class, argument);
      } catch (ChildWorkflowFailure failure) {
        return failureOf(failure);
      }
    }
  }
}
