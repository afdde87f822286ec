package interop;

import com.fasterxml.jackson.databind.ObjectMapper;
import io.temporal.client.WorkflowClient;
import io.temporal.serviceclient.WorkflowServiceStubs;
import io.temporal.serviceclient.WorkflowServiceStubsOptions;
import io.temporal.worker.Worker;
import io.temporal.worker.WorkerFactory;
import java.io.OutputStream;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/**
 * Temporal's Java SDK at work against a server, for tests/interop/test_java.py.
 *
 * <p>{@code worker} works until its input ends and says "ready" when it polls; {@code scenario NAME} does what a client
 * does, and prints a line of JSON with what it saw; {@code replay ID} replays a history that it fetches from the server.
 */
public final class Main {
  private Main() {}

  public static void main(String[] arguments) throws Exception {
    Map<String, String> options =
        new HashMap<>(Map.of("-address", "127.0.0.1:7233", "-queue", "java", "-counter", "JavaCounter"));
    List<String> words = new ArrayList<>();
    for (int at = 0; at < arguments.length; at++) {
      if (options.containsKey(arguments[at])) {
        options.put(arguments[at], arguments[++at]);
      } else {
        words.add(arguments[at]);
      }
    }
    WorkflowServiceStubs service = WorkflowServiceStubs.newServiceStubs(
        WorkflowServiceStubsOptions.newBuilder().setTarget(options.get("-address")).build());
    try {
      run(WorkflowClient.newInstance(service), options.get("-queue"), options.get("-counter"), words);
    } finally {
      service.shutdownNow();
    }
  }

  private static void run(WorkflowClient client, String queue, String counter, List<String> words) throws Exception {
    WorkerFactory factory = WorkerFactory.newInstance(client);
    Worker worker = factory.newWorker(queue);
    worker.registerWorkflowImplementationTypes(Workflows.ALL);
    worker.registerActivitiesImplementations(new Activities.Impl());
    switch (words.get(0)) {
      case "worker" -> {
        factory.start();
        System.out.println("ready");
        System.in.transferTo(OutputStream.nullOutputStream());
        factory.shutdownNow();
        factory.awaitTermination(10, TimeUnit.SECONDS);
      }
      case "replay" -> {
        var history = client.fetchHistory(words.get(1));
        worker.replayWorkflowExecution(history);
        print(Map.of("events", history.getEvents().size()));
      }
      case "scenario" -> print(new Scenarios(client, queue, counter).all().get(words.get(1)).get());
      default -> throw new IllegalArgumentException("say worker, scenario NAME or replay WORKFLOW_ID");
    }
  }

  private static void print(Object seen) throws Exception {
    System.out.println(new ObjectMapper().writeValueAsString(seen));
  }
}
