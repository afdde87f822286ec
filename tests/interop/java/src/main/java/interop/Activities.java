package interop;

import io.temporal.activity.ActivityInterface;
import io.temporal.activity.ActivityMethod;
import io.temporal.failure.ApplicationFailure;

@ActivityInterface
public interface Activities {
  @ActivityMethod(name = "JavaGreet")
  String greet(String name);

  /** Fails for good, with a type and details. */
  @ActivityMethod(name = "JavaRefuse")
  void refuse(String name);

  class Impl implements Activities {
    @Override
    public String greet(String name) {
      return "Hello, " + name + ", from Java!";
    }

    @Override
    public void refuse(String name) {
      throw refusal(name);
    }
  }

  static ApplicationFailure refusal(String name) {
    return ApplicationFailure.newNonRetryableFailure("Java refuses " + name, "Refused", name, 7);
  }
}
