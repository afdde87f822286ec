package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// Square is the activity that most workflows here call.
func Square(_ context.Context, number int) (int, error) { return number * number, nil }

// FailUntil fails every attempt before the given one.
func FailUntil(ctx context.Context, attempt int32) (int32, error) {
	if now := activity.GetInfo(ctx).Attempt; now < attempt {
		return 0, temporal.NewApplicationError(fmt.Sprintf("attempt %d", now), "Early", "detail", now)
	}
	return attempt, nil
}

func withActivity(ctx workflow.Context) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: 20 * time.Second,
		RetryPolicy:         &temporal.RetryPolicy{InitialInterval: 10 * time.Millisecond, MaximumAttempts: 3},
	})
}

func withLocal(ctx workflow.Context) workflow.Context {
	return workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{
		StartToCloseTimeout: 20 * time.Second,
		RetryPolicy:         &temporal.RetryPolicy{InitialInterval: 10 * time.Millisecond, MaximumAttempts: 3},
	})
}

// Activities runs one, several at once, one that is retried and one that fails.
func Activities(ctx workflow.Context) ([]int, error) {
	ctx = withActivity(ctx)
	var seen []int
	for number := range 3 {
		var result int
		if err := workflow.ExecuteActivity(ctx, Square, number).Get(ctx, &result); err != nil {
			return nil, err
		}
		seen = append(seen, result)
	}
	var futures []workflow.Future
	for number := range 3 {
		futures = append(futures, workflow.ExecuteActivity(ctx, Square, number))
	}
	for _, future := range futures {
		var result int
		if err := future.Get(ctx, &result); err != nil {
			return nil, err
		}
		seen = append(seen, result)
	}
	if err := workflow.ExecuteActivity(ctx, FailUntil, int32(2)).Get(ctx, nil); err != nil {
		return nil, err
	}
	var failure *temporal.ActivityError
	if err := workflow.ExecuteActivity(ctx, FailUntil, int32(9)).Get(ctx, nil); !errors.As(err, &failure) {
		return nil, fmt.Errorf("expected an activity error, got %w", err)
	}
	return seen, nil
}

// SideEffects records a side effect, and a mutable one that changes once in three calls.
func SideEffects(ctx workflow.Context) ([]int, error) {
	var seen []int
	var value int
	if err := workflow.SideEffect(ctx, func(workflow.Context) any { return 7 }).Get(&value); err != nil {
		return nil, err
	}
	seen = append(seen, value)
	for _, next := range []int{1, 1, 2} {
		equals := func(a, b any) bool { return a.(int) == b.(int) }
		encoded := workflow.MutableSideEffect(ctx, "level", func(workflow.Context) any { return next }, equals)
		if err := encoded.Get(&value); err != nil {
			return nil, err
		}
		seen = append(seen, value)
		if err := workflow.Sleep(ctx, 10*time.Millisecond); err != nil {
			return nil, err
		}
	}
	return seen, nil
}

// Versions asks for two versions and calls an activity between.
func Versions(ctx workflow.Context) (string, error) {
	first := workflow.GetVersion(ctx, "first-change", workflow.DefaultVersion, 2)
	if err := workflow.ExecuteActivity(withActivity(ctx), Square, 2).Get(ctx, nil); err != nil {
		return "", err
	}
	second := workflow.GetVersion(ctx, "second-change", workflow.DefaultVersion, 1)
	return fmt.Sprintf("%d %d", first, second), nil
}

// LocalActivities runs one, several at once, a retried and a failing one.
func LocalActivities(ctx workflow.Context) (int, error) {
	ctx = withLocal(withActivity(ctx))
	var total, result int
	var futures []workflow.Future
	for number := range 3 {
		futures = append(futures, workflow.ExecuteLocalActivity(ctx, Square, number))
	}
	futures = append(futures, workflow.ExecuteActivity(ctx, Square, 9))
	for _, future := range futures {
		if err := future.Get(ctx, &result); err != nil {
			return 0, err
		}
		total += result
	}
	if err := workflow.ExecuteLocalActivity(ctx, FailUntil, int32(3)).Get(ctx, nil); err != nil {
		return 0, err
	}
	if err := workflow.ExecuteLocalActivity(ctx, FailUntil, int32(9)).Get(ctx, nil); err == nil {
		return 0, errors.New("expected a failure")
	}
	return total, nil
}

// Child answers, fails or waits to be cancelled.
func Child(ctx workflow.Context, what string) (string, error) {
	switch what {
	case "fail":
		return "", temporal.NewApplicationError("the child failed", "ChildBroke")
	case "hang":
		return "", workflow.Await(ctx, func() bool { return false })
	}
	return what, nil
}

// Parent has a child that completes, one that fails, one it cancels and one it signals.
func Parent(ctx workflow.Context) ([]string, error) {
	id := workflow.GetInfo(ctx).WorkflowExecution.ID
	start := func(ctx workflow.Context, what string) workflow.ChildWorkflowFuture {
		return workflow.ExecuteChildWorkflow(workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
			WorkflowID:          id + "/" + what,
			WaitForCancellation: true,
		}), Child, what)
	}
	var seen []string
	var answer string
	if err := start(ctx, "complete").Get(ctx, &answer); err != nil {
		return nil, err
	}
	seen = append(seen, answer)
	if err := start(ctx, "fail").Get(ctx, nil); err != nil {
		seen = append(seen, "failed")
	}
	cancelled, cancel := workflow.WithCancel(ctx)
	child := start(cancelled, "hang")
	if err := child.GetChildWorkflowExecution().Get(ctx, nil); err != nil {
		return nil, err
	}
	if err := child.SignalChildWorkflow(ctx, "nobody-listens", "word").Get(ctx, nil); err != nil {
		return nil, err
	}
	cancel()
	if err := child.Get(ctx, nil); temporal.IsCanceledError(err) {
		seen = append(seen, "cancelled")
	}
	return seen, nil
}

// Selector waits for a timer, a signal or an activity, whichever comes, and cancels a timer that lost.
func Selector(ctx workflow.Context) ([]string, error) {
	var seen []string
	for range 3 {
		timerCtx, cancel := workflow.WithCancel(ctx)
		selector := workflow.NewSelector(ctx)
		selector.AddFuture(workflow.NewTimer(timerCtx, 200*time.Millisecond), func(workflow.Future) {
			seen = append(seen, "timer")
		})
		selector.AddReceive(workflow.GetSignalChannel(ctx, "word"), func(channel workflow.ReceiveChannel, _ bool) {
			var word string
			channel.Receive(ctx, &word)
			seen = append(seen, word)
			cancel()
		})
		selector.Select(ctx)
		cancel()
	}
	return seen, nil
}

// Chain continues as new until nothing is left.
func Chain(ctx workflow.Context, left int) (int, error) {
	if left > 0 {
		return 0, workflow.NewContinueAsNewError(ctx, Chain, left-1)
	}
	return left, nil
}

// Updated has an update with a validator and a query, and ends on a signal.
func Updated(ctx workflow.Context) (int, error) {
	total := 0
	err := workflow.SetUpdateHandlerWithOptions(ctx, "add", func(ctx workflow.Context, number int) (int, error) {
		var squared int
		if err := workflow.ExecuteActivity(withActivity(ctx), Square, number).Get(ctx, &squared); err != nil {
			return 0, err
		}
		total += squared
		return total, nil
	}, workflow.UpdateHandlerOptions{Validator: func(number int) error {
		if number < 0 {
			return errors.New("must not be negative")
		}
		return nil
	}})
	if err != nil {
		return 0, err
	}
	workflow.GetSignalChannel(ctx, "finish").Receive(ctx, nil)
	return total, nil
}

// Upserts changes memo and search attributes.
func Upserts(ctx workflow.Context) error {
	if err := workflow.UpsertMemo(ctx, map[string]any{"added": "by workflow"}); err != nil {
		return err
	}
	return workflow.UpsertTypedSearchAttributes(ctx, keyword.ValueSet("from go"), number.ValueSet(7))
}

// Session runs two activities on one worker.
func Session(ctx workflow.Context) (int, error) {
	session, err := workflow.CreateSession(withActivity(ctx), &workflow.SessionOptions{
		CreationTimeout:  20 * time.Second,
		ExecutionTimeout: time.Minute,
	})
	if err != nil {
		return 0, err
	}
	defer workflow.CompleteSession(session)
	var total int
	for number := range 2 {
		var result int
		if err := workflow.ExecuteActivity(session, Square, number).Get(session, &result); err != nil {
			return 0, err
		}
		total += result
	}
	return total, nil
}

// Cancelled cleans up in a disconnected context.
func Cancelled(ctx workflow.Context) error {
	err := workflow.Sleep(ctx, time.Hour)
	clean, _ := workflow.NewDisconnectedContext(ctx)
	if tidied := workflow.ExecuteActivity(withActivity(clean), Square, 1).Get(clean, nil); tidied != nil {
		return tidied
	}
	return err
}
