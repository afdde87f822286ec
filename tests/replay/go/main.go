// Command go runs our Go workflows on a Temporal server, for record.py to export their histories.
//
// It prints "sdk <version>" and one line per kept run: feature, case, workflow id, run id.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"time"

	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	sdklog "go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
)

const taskQueue = "replay-go"

var (
	keyword = temporal.NewSearchAttributeKeyKeyword("ReplayKeyword")
	number  = temporal.NewSearchAttributeKeyInt64("ReplayInt")
)

// quiet drops the SDK's log: the workflows fail on purpose.
type quiet struct{}

func (quiet) Debug(string, ...any) {}
func (quiet) Info(string, ...any)  {}
func (quiet) Warn(string, ...any)  {}
func (quiet) Error(string, ...any) {}

var _ sdklog.Logger = quiet{}

type scenario struct {
	feature  string
	workflow any
	args     []any
	act      func(context.Context, client.Client, client.WorkflowRun) error
}

func until(ctx context.Context, c client.Client, run client.WorkflowRun, kind enums.EventType) error {
	events := c.GetWorkflowHistory(ctx, run.GetID(), run.GetRunID(), true, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		event, err := events.Next()
		if err != nil {
			return err
		}
		if event.GetEventType() == kind {
			return nil
		}
	}
	return fmt.Errorf("%s ended without %s", run.GetID(), kind)
}

var scenarios = []scenario{
	{feature: "activity_retry", workflow: Activities},
	{feature: "side_effect", workflow: SideEffects},
	{feature: "versions", workflow: Versions},
	{feature: "local_activity", workflow: LocalActivities},
	{feature: "child_workflow", workflow: Parent},
	{feature: "selector", workflow: Selector, act: func(ctx context.Context, c client.Client, r client.WorkflowRun) error {
		if err := until(ctx, c, r, enums.EVENT_TYPE_TIMER_STARTED); err != nil {
			return err
		}
		return c.SignalWorkflow(ctx, r.GetID(), "", "word", "hello")
	}},
	{feature: "continue_as_new", workflow: Chain, args: []any{2}},
	{feature: "updates", workflow: Updated, act: func(ctx context.Context, c client.Client, r client.WorkflowRun) error {
		for id, argument := range map[string]int{"add-three": 3, "add-negative": -1} {
			handle, err := c.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{
				WorkflowID: r.GetID(), UpdateID: id, UpdateName: "add", Args: []any{argument},
				WaitForStage: client.WorkflowUpdateStageCompleted,
			})
			if err == nil {
				err = handle.Get(ctx, nil)
			}
			if (err != nil) != (argument < 0) {
				return fmt.Errorf("update %d: %w", argument, err)
			}
		}
		return c.SignalWorkflow(ctx, r.GetID(), "", "finish", nil)
	}},
	{feature: "upserts", workflow: Upserts},
	{feature: "session", workflow: Session},
	{feature: "cancel", workflow: Cancelled, act: func(ctx context.Context, c client.Client, r client.WorkflowRun) error {
		if err := until(ctx, c, r, enums.EVENT_TYPE_TIMER_STARTED); err != nil {
			return err
		}
		return c.CancelWorkflow(ctx, r.GetID(), "")
	}},
}

func run(ctx context.Context, c client.Client, s scenario) error {
	started, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: "go-" + s.feature, TaskQueue: taskQueue,
	}, s.workflow, s.args...)
	if err != nil {
		return err
	}
	first := started.GetRunID()
	if s.act != nil {
		if err := s.act(ctx, c, started); err != nil {
			return err
		}
	}
	if err := started.Get(ctx, nil); err != nil && !temporal.IsCanceledError(err) {
		return err
	}
	fmt.Println(s.feature, "history", started.GetID(), first)
	return nil
}

func main() {
	address := flag.String("address", "127.0.0.1:7233", "where the server listens")
	namespace := flag.String("namespace", "replay", "the namespace, which must exist")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	c, err := client.Dial(client.Options{
		HostPort: *address, Namespace: *namespace, Identity: "recorder", Logger: quiet{},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	w := worker.New(c, taskQueue, worker.Options{EnableSessionWorker: true, DisableWorkflowWorker: false})
	for _, workflow := range []any{
		Activities, SideEffects, Versions, LocalActivities, Parent, Child, Selector, Chain, Updated, Upserts, Session, Cancelled,
	} {
		w.RegisterWorkflow(workflow)
	}
	w.RegisterActivity(Square)
	w.RegisterActivity(FailUntil)
	if err := w.Start(); err != nil {
		log.Fatal(err)
	}
	defer w.Stop()
	fmt.Println("sdk", temporal.SDKVersion)
	for _, s := range scenarios {
		if err := run(ctx, c, s); err != nil {
			log.Fatalf("%s: %v", s.feature, err)
		}
	}
}
