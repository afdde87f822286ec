// Command go is Temporal's Go SDK at work against a server, for tests/interop/test_go.py.
//
//	go worker             works until its input ends; says "ready" when it polls
//	go scenario NAME      does what a client does, and prints a line of JSON with what it saw
//	go replay WORKFLOW_ID replays a history that it fetches from the server, with the code it came from and with other code
//	go replay-file FILE   replays a history in Temporal's JSON
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"time"

	"go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

type quiet struct{}

func (quiet) Debug(string, ...any) {}
func (quiet) Info(string, ...any)  {}
func (quiet) Warn(string, ...any)  {}
func (quiet) Error(string, ...any) {}

func work(c caller) error {
	w := worker.New(c.Client, c.queue, worker.Options{WorkerStopTimeout: time.Second})
	register(w)
	if err := w.Start(); err != nil {
		return err
	}
	defer w.Stop()
	fmt.Println("ready")
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

func replayed(replay func(worker.WorkflowReplayer) error) error {
	replayer := worker.NewWorkflowReplayer()
	registerWorkflows(replayer)
	return replay(replayer)
}

func replay(ctx context.Context, c caller, id string) (any, error) {
	iterator := c.GetWorkflowHistory(ctx, id, "", false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	var history historypb.History
	for iterator.HasNext() {
		event, err := iterator.Next()
		if err != nil {
			return nil, err
		}
		history.Events = append(history.Events, event)
	}
	err := replayed(func(replayer worker.WorkflowReplayer) error { return replayer.ReplayWorkflowHistory(quiet{}, &history) })
	if err != nil {
		return nil, err
	}
	err = replayed(func(replayer worker.WorkflowReplayer) error {
		execution := workflow.Execution{ID: id}
		return replayer.ReplayWorkflowExecution(ctx, c.WorkflowService(), quiet{}, "default", execution)
	})
	if err != nil {
		return nil, err
	}
	other := worker.NewWorkflowReplayer()
	other.RegisterWorkflowWithOptions(changed, workflow.RegisterOptions{Name: "GoEverything"})
	refused := other.ReplayWorkflowHistory(quiet{}, &history)
	return map[string]any{"events": len(history.Events), "changed code is refused": refused != nil}, nil
}

func run(address, queue, counter string, words []string) (any, error) {
	if len(words) == 2 && words[0] == "replay-file" {
		err := replayed(func(replayer worker.WorkflowReplayer) error {
			return replayer.ReplayWorkflowHistoryFromJSONFile(quiet{}, words[1])
		})
		return "replayed", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	connection, err := client.DialContext(ctx, client.Options{HostPort: address, Logger: quiet{}})
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	c := caller{connection, queue, counter}
	switch {
	case len(words) == 1 && words[0] == "worker":
		return "stopped", work(c)
	case len(words) == 2 && words[0] == "replay":
		return replay(ctx, c, words[1])
	case len(words) == 2 && words[0] == "scenario" && scenarios[words[1]] != nil:
		return scenarios[words[1]](ctx, c)
	}
	return nil, errors.New("say worker, scenario NAME, replay WORKFLOW_ID or replay-file FILE")
}

func main() {
	address := flag.String("address", "127.0.0.1:7233", "the server")
	queue := flag.String("queue", "go", "the task queue of the worker")
	counter := flag.String("counter", "GoCounter", "the workflow of the scenarios with signals, queries and updates")
	flag.Parse()
	result, err := run(*address, *queue, *counter, flag.Args())
	if err != nil {
		log.Fatal(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(result); err != nil {
		log.Fatal(err)
	}
}
