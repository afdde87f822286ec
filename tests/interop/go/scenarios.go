package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
)

// caller is a client with the task queue that it uses.
type caller struct {
	client.Client
	queue   string
	counter string // the type of the workflow that counts
}

type scenario func(context.Context, caller) (any, error)

var scenarios = map[string]scenario{
	"hello":           hello,
	"signals":         signals,
	"queries":         queries,
	"updates":         updates,
	"timers":          result("GoTimers"),
	"children":        result("GoParent"),
	"continue-as-new": continueAsNew,
	"schedules":       schedules,
	"cancel":          cancelAndTerminate,
	"history":         history,
	"errors":          refused,
}

func (c caller) start(ctx context.Context, id, workflow string, args ...any) (client.WorkflowRun, error) {
	return c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: id, TaskQueue: c.queue}, workflow, args...)
}

func (c caller) count(ctx context.Context, id string) (client.WorkflowRun, error) {
	return c.start(ctx, id, c.counter)
}

func (c caller) finish(ctx context.Context, run client.WorkflowRun) (sum int, err error) {
	if err = c.SignalWorkflow(ctx, run.GetID(), "", "finish", nil); err != nil {
		return 0, err
	}
	err = run.Get(ctx, &sum)
	return sum, err
}

func (c caller) sum(ctx context.Context, id string) (sum int, err error) {
	value, err := c.QueryWorkflow(ctx, id, "", "sum")
	if err != nil {
		return 0, err
	}
	err = value.Get(&sum)
	return sum, err
}

func result(workflow string) scenario {
	return func(ctx context.Context, c caller) (result any, err error) {
		run, err := c.start(ctx, workflow, workflow)
		if err != nil {
			return nil, err
		}
		err = run.Get(ctx, &result)
		return result, err
	}
}

func hello(ctx context.Context, c caller) (any, error) {
	run, err := c.start(ctx, "hello", "GoHello", "World")
	if err != nil {
		return nil, err
	}
	var greeting string
	err = run.Get(ctx, &greeting)
	return greeting, err
}

func signals(ctx context.Context, c caller) (any, error) {
	options := client.StartWorkflowOptions{TaskQueue: c.queue}
	run, err := c.SignalWithStartWorkflow(ctx, "signals", "add", 2, options, c.counter)
	if err != nil {
		return nil, err
	}
	if err := c.SignalWorkflow(ctx, "signals", run.GetRunID(), "add", 3); err != nil {
		return nil, err
	}
	return c.finish(ctx, run)
}

func queries(ctx context.Context, c caller) (any, error) {
	run, err := c.count(ctx, "queries")
	if err != nil {
		return nil, err
	}
	before, err := c.sum(ctx, "queries")
	if err != nil {
		return nil, err
	}
	if err := c.SignalWorkflow(ctx, "queries", "", "add", 4); err != nil {
		return nil, err
	}
	running, err := c.sum(ctx, "queries")
	if err != nil {
		return nil, err
	}
	if _, err := c.finish(ctx, run); err != nil {
		return nil, err
	}
	closed, err := c.sum(ctx, "queries")
	if err != nil {
		return nil, err
	}
	_, err = c.QueryWorkflow(ctx, "queries", "", "nothing of the sort")
	var failed *serviceerror.QueryFailed
	return []any{before, running, closed, errors.As(err, &failed)}, nil
}

func updates(ctx context.Context, c caller) (any, error) {
	run, err := c.count(ctx, "updates")
	if err != nil {
		return nil, err
	}
	update := client.UpdateWorkflowOptions{
		WorkflowID: "updates", UpdateName: "add", UpdateID: "first", Args: []any{2},
		WaitForStage: client.WorkflowUpdateStageAccepted,
	}
	var results []any
	for range 2 { // The second is the first again: it has its id.
		handle, err := c.UpdateWorkflow(ctx, update)
		if err != nil {
			return nil, err
		}
		var sum int
		if err := handle.Get(ctx, &sum); err != nil {
			return nil, err
		}
		results = append(results, sum)
	}
	update.UpdateID, update.Args, update.WaitForStage = "second", []any{-1}, client.WorkflowUpdateStageCompleted
	handle, err := c.UpdateWorkflow(ctx, update)
	if err == nil {
		err = handle.Get(ctx, nil)
	}
	var rejected *temporal.ApplicationError
	if !errors.As(err, &rejected) {
		return nil, fmt.Errorf("not rejected: %w", err)
	}
	results = append(results, rejected.Type())
	sum, err := c.finish(ctx, run)
	if err != nil {
		return nil, err
	}
	results = append(results, sum)

	starting := c.NewWithStartWorkflowOperation(client.StartWorkflowOptions{
		ID: "updates-with-start", TaskQueue: c.queue,
		WorkflowIDConflictPolicy: enums.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
	}, c.counter)
	handle, err = c.UpdateWithStartWorkflow(ctx, client.UpdateWithStartWorkflowOptions{
		StartWorkflowOperation: starting,
		UpdateOptions: client.UpdateWorkflowOptions{
			UpdateName: "add", Args: []any{9}, WaitForStage: client.WorkflowUpdateStageCompleted,
		},
	})
	if err != nil {
		return nil, err
	}
	if err := handle.Get(ctx, &sum); err != nil {
		return nil, err
	}
	if run, err = starting.Get(ctx); err != nil {
		return nil, err
	}
	if _, err := c.finish(ctx, run); err != nil {
		return nil, err
	}
	return append(results, sum), nil
}

func continueAsNew(ctx context.Context, c caller) (any, error) {
	run, err := c.start(ctx, "chain", "GoChain", 2, []string{})
	if err != nil {
		return nil, err
	}
	first := run.GetRunID()
	var runs []string
	if err := run.Get(ctx, &runs); err != nil {
		return nil, err
	}
	different := map[string]bool{}
	for _, run := range runs {
		different[run] = true
	}
	alone := c.GetWorkflow(ctx, "chain", first).GetWithOptions(ctx, nil, client.WorkflowRunGetOptions{DisableFollowingRuns: true})
	return []any{len(different), runs[0] == first, alone != nil}, nil
}

func schedules(ctx context.Context, c caller) (any, error) {
	handle, err := c.ScheduleClient().Create(ctx, client.ScheduleOptions{
		ID:   "hourly",
		Spec: client.ScheduleSpec{Intervals: []client.ScheduleIntervalSpec{{Every: time.Hour}}},
		Action: &client.ScheduleWorkflowAction{
			ID: "scheduled", Workflow: "GoHello", Args: []any{"schedule"}, TaskQueue: c.queue,
		},
		Note: "for a start",
	})
	if err != nil {
		return nil, err
	}
	if err := handle.Trigger(ctx, client.ScheduleTriggerOptions{}); err != nil {
		return nil, err
	}
	described, err := handle.Describe(ctx)
	for err == nil && len(described.Info.RecentActions) == 0 {
		described, err = handle.Describe(ctx)
	}
	if err != nil {
		return nil, err
	}
	action := described.Info.RecentActions[0].StartWorkflowResult
	var greeting string
	if err := c.GetWorkflow(ctx, action.WorkflowID, action.FirstExecutionRunID).Get(ctx, &greeting); err != nil {
		return nil, err
	}
	if err := handle.Pause(ctx, client.SchedulePauseOptions{Note: "a rest"}); err != nil {
		return nil, err
	}
	err = handle.Update(ctx, client.ScheduleUpdateOptions{
		DoUpdate: func(input client.ScheduleUpdateInput) (*client.ScheduleUpdate, error) {
			schedule := input.Description.Schedule
			schedule.Spec.Intervals[0].Every = 2 * time.Hour
			return &client.ScheduleUpdate{Schedule: &schedule}, nil
		},
	})
	if err != nil {
		return nil, err
	}
	if described, err = handle.Describe(ctx); err != nil {
		return nil, err
	}
	listed, err := c.ScheduleClient().List(ctx, client.ScheduleListOptions{})
	if err != nil {
		return nil, err
	}
	var ids []string
	for listed.HasNext() {
		entry, err := listed.Next()
		if err != nil {
			return nil, err
		}
		ids = append(ids, entry.ID)
	}
	if err := handle.Delete(ctx); err != nil {
		return nil, err
	}
	_, err = handle.Describe(ctx)
	var gone *serviceerror.NotFound
	return map[string]any{
		"greeting": greeting,
		"note":     described.Schedule.State.Note,
		"paused":   described.Schedule.State.Paused,
		"every":    described.Schedule.Spec.Intervals[0].Every.String(),
		"upcoming": len(described.Info.NextActionTimes) > 0,
		"ids":      ids,
		"deleted":  errors.As(err, &gone),
	}, nil
}

func cancelAndTerminate(ctx context.Context, c caller) (any, error) {
	run, err := c.count(ctx, "cancelled")
	if err != nil {
		return nil, err
	}
	if err := c.CancelWorkflow(ctx, "cancelled", ""); err != nil {
		return nil, err
	}
	cancelled := temporal.IsCanceledError(run.Get(ctx, nil))
	if run, err = c.count(ctx, "terminated"); err != nil {
		return nil, err
	}
	if err := c.TerminateWorkflow(ctx, "terminated", "", "enough"); err != nil {
		return nil, err
	}
	var terminated *temporal.TerminatedError
	return []bool{cancelled, errors.As(run.Get(ctx, nil), &terminated)}, nil
}

func history(ctx context.Context, c caller) (any, error) {
	run, err := c.start(ctx, "seen", "GoHello", "seen")
	if err != nil {
		return nil, err
	}
	if err := run.Get(ctx, nil); err != nil {
		return nil, err
	}
	described, err := c.DescribeWorkflow(ctx, "seen", "")
	if err != nil {
		return nil, err
	}
	iterator := c.GetWorkflowHistory(ctx, "seen", "", false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	events := 0
	for iterator.HasNext() {
		if _, err := iterator.Next(); err != nil {
			return nil, err
		}
		events++
	}
	return []any{described.Status.String(), events, described.HistoryLength}, nil
}

func refused(ctx context.Context, c caller) (any, error) {
	run, err := c.count(ctx, "twice")
	if err != nil {
		return nil, err
	}
	options := client.StartWorkflowOptions{
		ID: "twice", TaskQueue: c.queue, WorkflowExecutionErrorWhenAlreadyStarted: true,
	}
	_, err = c.ExecuteWorkflow(ctx, options, c.counter)
	var started *serviceerror.WorkflowExecutionAlreadyStarted
	known := errors.As(err, &started) && started.RunId == run.GetRunID()
	if _, err := c.finish(ctx, run); err != nil {
		return nil, err
	}
	err = c.SignalWorkflow(ctx, "nobody", "", "add", 1)
	var missing *serviceerror.NotFound
	var failed *temporal.ApplicationError
	if run, err := c.start(ctx, "fails", "GoFail", "this"); err != nil {
		return nil, err
	} else if !errors.As(run.Get(ctx, nil), &failed) {
		return nil, errors.New("GoFail did not fail")
	}
	return []any{known, errors.As(err, &missing), failed.Type(), failed.NonRetryable()}, nil
}
