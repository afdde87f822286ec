package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

const soon = 20 * time.Second

// GoGreet is an activity.
func GoGreet(_ context.Context, name string) (string, error) {
	return fmt.Sprintf("Hello, %s, from Go!", name), nil
}

// GoRefuse is an activity that fails for good, with a type and details.
func GoRefuse(_ context.Context, name string) error {
	return temporal.NewNonRetryableApplicationError("Go refuses "+name, "Refused", nil, name, 7)
}

// Failure is what a workflow saw of an application error that another SDK raised.
type Failure struct {
	Message string `json:"message"`
	Type    string `json:"type"`
	Name    string `json:"name"`
	Number  int    `json:"number"`
}

func failureOf(err error) (any, error) {
	var application *temporal.ApplicationError
	if !errors.As(err, &application) {
		return nil, err
	}
	failure := Failure{Message: application.Message(), Type: application.Type()}
	if err := application.Details(&failure.Name, &failure.Number); err != nil {
		return nil, err
	}
	return failure, nil
}

// GoHello calls one activity of its own task queue.
func GoHello(ctx workflow.Context, name string) (string, error) {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: soon})
	var greeting string
	err := workflow.ExecuteActivity(ctx, "GoGreet", name).Get(ctx, &greeting)
	return greeting, err
}

// GoFail fails as GoRefuse does, but as a workflow.
func GoFail(_ workflow.Context, name string) error { return GoRefuse(context.Background(), name) }

// GoCounter counts what signals and updates add until it is told to finish; queries see the sum.
func GoCounter(ctx workflow.Context) (int, error) {
	sum, finished := 0, false
	if err := workflow.SetQueryHandler(ctx, "sum", func() (int, error) { return sum, nil }); err != nil {
		return 0, err
	}
	add := func(ctx workflow.Context, number int) (int, error) {
		if err := workflow.Sleep(ctx, time.Millisecond); err != nil {
			return 0, err
		}
		sum += number
		return sum, nil
	}
	validate := func(number int) error {
		if number < 0 {
			return temporal.NewApplicationError("only upwards", "Negative")
		}
		return nil
	}
	if err := workflow.SetUpdateHandlerWithOptions(ctx, "add", add, workflow.UpdateHandlerOptions{Validator: validate}); err != nil {
		return 0, err
	}
	workflow.Go(ctx, func(ctx workflow.Context) {
		for {
			var number int
			workflow.GetSignalChannel(ctx, "add").Receive(ctx, &number)
			sum += number
		}
	})
	workflow.Go(ctx, func(ctx workflow.Context) {
		workflow.GetSignalChannel(ctx, "finish").Receive(ctx, nil)
		finished = true
	})
	if err := workflow.Await(ctx, func() bool { return finished && workflow.AllHandlersFinished(ctx) }); err != nil {
		return 0, err
	}
	return sum, nil
}

// GoTimers tells the order in which three timers end, one of them cancelled.
func GoTimers(ctx workflow.Context) ([]string, error) {
	var order []string
	cancelled, cancel := workflow.WithCancel(ctx)
	selector := workflow.NewSelector(ctx)
	selector.AddFuture(workflow.NewTimer(cancelled, time.Hour), func(never workflow.Future) {
		if temporal.IsCanceledError(never.Get(ctx, nil)) {
			order = append(order, "never")
		}
	})
	slow := workflow.NewTimer(ctx, 40*time.Millisecond)
	quick := workflow.NewTimer(ctx, 10*time.Millisecond)
	selector.AddFuture(slow, func(workflow.Future) { order = append(order, "slow") })
	selector.AddFuture(quick, func(workflow.Future) { order = append(order, "quick") })
	selector.Select(ctx)
	selector.Select(ctx)
	cancel()
	selector.Select(ctx)
	return order, nil
}

// GoParent waits for two children, and signals a third.
func GoParent(ctx workflow.Context) ([]any, error) {
	var results []any
	var futures []workflow.ChildWorkflowFuture
	for _, name := range []string{"a", "b"} {
		futures = append(futures, workflow.ExecuteChildWorkflow(ctx, "GoHello", name))
	}
	counter := workflow.ExecuteChildWorkflow(ctx, "GoCounter")
	if err := counter.GetChildWorkflowExecution().Get(ctx, nil); err != nil {
		return nil, err
	}
	if err := counter.SignalChildWorkflow(ctx, "add", 5).Get(ctx, nil); err != nil {
		return nil, err
	}
	if err := counter.SignalChildWorkflow(ctx, "finish", nil).Get(ctx, nil); err != nil {
		return nil, err
	}
	for _, future := range futures {
		var greeting string
		if err := future.Get(ctx, &greeting); err != nil {
			return nil, err
		}
		results = append(results, greeting)
	}
	var sum int
	if err := counter.Get(ctx, &sum); err != nil {
		return nil, err
	}
	return append(results, sum), nil
}

// GoChain continues as new until nothing is left, and tells the runs it took.
func GoChain(ctx workflow.Context, left int, runs []string) ([]string, error) {
	runs = append(runs, workflow.GetInfo(ctx).WorkflowExecution.RunID)
	if left > 0 {
		return nil, workflow.NewContinueAsNewError(ctx, "GoChain", left-1, runs)
	}
	return runs, nil
}

// GoActivityElsewhere calls an activity by its name on another task queue.
func GoActivityElsewhere(ctx workflow.Context, queue, name, argument string) (any, error) {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{TaskQueue: queue, StartToCloseTimeout: soon})
	var result any
	if err := workflow.ExecuteActivity(ctx, name, argument).Get(ctx, &result); err != nil {
		return failureOf(err)
	}
	return result, nil
}

// GoChildElsewhere runs a child workflow by its name on another task queue.
func GoChildElsewhere(ctx workflow.Context, queue, name, argument string) (any, error) {
	ctx = workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{TaskQueue: queue})
	var result any
	if err := workflow.ExecuteChildWorkflow(ctx, name, argument).Get(ctx, &result); err != nil {
		return failureOf(err)
	}
	return result, nil
}

// GoEverything has a history with many kinds of events, for replay: a version, a side effect, a local activity, a timer,
// an activity, a child and signals.
func GoEverything(ctx workflow.Context) (string, error) {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: soon})
	ctx = workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{StartToCloseTimeout: soon})
	version := workflow.GetVersion(ctx, "change", workflow.DefaultVersion, 2)
	var drawn int
	if err := workflow.SideEffect(ctx, func(workflow.Context) any { return 4 }).Get(&drawn); err != nil {
		return "", err
	}
	var local, remote, child, signalled string
	if err := workflow.ExecuteLocalActivity(ctx, GoGreet, "local").Get(ctx, &local); err != nil {
		return "", err
	}
	if err := workflow.Sleep(ctx, time.Millisecond); err != nil {
		return "", err
	}
	if err := workflow.ExecuteActivity(ctx, "GoGreet", "remote").Get(ctx, &remote); err != nil {
		return "", err
	}
	if err := workflow.ExecuteChildWorkflow(ctx, "GoHello", "child").Get(ctx, &child); err != nil {
		return "", err
	}
	workflow.GetSignalChannel(ctx, "go on").Receive(ctx, &signalled)
	return fmt.Sprintf("%d %d %s %s %s %s", version, drawn, local, remote, child, signalled), nil
}

// changed is GoEverything after a change that its histories do not allow.
func changed(ctx workflow.Context) (string, error) {
	return "", workflow.Sleep(ctx, time.Hour)
}

func register(registry worker.Registry) {
	registry.RegisterActivity(GoGreet)
	registry.RegisterActivity(GoRefuse)
	registerWorkflows(registry)
}

func registerWorkflows(registry worker.WorkflowRegistry) {
	for _, definition := range []any{
		GoHello, GoFail, GoCounter, GoTimers, GoParent, GoChain, GoActivityElsewhere, GoChildElsewhere, GoEverything,
	} {
		registry.RegisterWorkflow(definition)
	}
}
