// Command go measures Temporal's Go SDK against a server: the workloads of workloads.py, the same loops.
//
// It prints one line of JSON: the metrics of the one workload that it was asked for.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"math"
	"os"
	"os/exec"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.temporal.io/sdk/client"
	sdklog "go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

type quiet struct{}

func (quiet) Debug(string, ...any) {}
func (quiet) Info(string, ...any)  {}
func (quiet) Warn(string, ...any)  {}
func (quiet) Error(string, ...any) {}

var _ sdklog.Logger = quiet{}

func act(_ context.Context, number int) (int, error) { return number, nil }

func withActivity(ctx workflow.Context) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute})
}

// Chain runs activities one after the other.
func Chain(ctx workflow.Context, steps int) (int, error) {
	ctx = withActivity(ctx)
	total := 0
	for step := range steps {
		var result int
		if err := workflow.ExecuteActivity(ctx, "act", step).Get(ctx, &result); err != nil {
			return 0, err
		}
		total += result
	}
	return total, nil
}

// FanOut runs activities all at once.
func FanOut(ctx workflow.Context, width int) (int, error) {
	ctx = withActivity(ctx)
	futures := make([]workflow.Future, width)
	for index := range width {
		futures[index] = workflow.ExecuteActivity(ctx, "act", index)
	}
	total := 0
	for _, future := range futures {
		var result int
		if err := future.Get(ctx, &result); err != nil {
			return 0, err
		}
		total += result
	}
	return total, nil
}

// Counter counts signals.
func Counter(ctx workflow.Context, count int) (int, error) {
	channel := workflow.GetSignalChannel(ctx, "add")
	for range count {
		channel.Receive(ctx, nil)
	}
	return count, nil
}

// Sleeper sleeps for an hour.
func Sleeper(ctx workflow.Context) error { return workflow.Sleep(ctx, time.Hour) }

type bench struct {
	client    client.Client
	queue     string
	number    atomic.Int64
	seconds   float64
	serverPID int
}

func (b *bench) start(ctx context.Context, workflow string, args ...any) (client.WorkflowRun, error) {
	options := client.StartWorkflowOptions{
		ID: fmt.Sprintf("%s-%d", b.queue, b.number.Add(1)), TaskQueue: b.queue,
	}
	return b.client.ExecuteWorkflow(ctx, options, workflow, args...)
}

func (b *bench) run(ctx context.Context, workflow string, args ...any) error {
	run, err := b.start(ctx, workflow, args...)
	if err != nil {
		return err
	}
	return run.Get(ctx, nil)
}

// atOnce runs one function in many goroutines and returns the first error.
func atOnce(count int, function func() error) error {
	var group sync.WaitGroup
	errs := make(chan error, count)
	for range count {
		group.Add(1)
		go func() {
			defer group.Done()
			if err := function(); err != nil {
				errs <- err
			}
		}()
	}
	group.Wait()
	select {
	case err := <-errs:
		return err
	default:
		return nil
	}
}

func (b *bench) oneActivity(ctx context.Context, inFlight int) (map[string]any, error) {
	for range 5 {
		if err := b.run(ctx, "Chain", 1); err != nil {
			return nil, err
		}
	}
	var mutex sync.Mutex
	var latencies []float64
	started := time.Now()
	end := started.Add(time.Duration(b.seconds * float64(time.Second)))
	err := atOnce(inFlight, func() error {
		for before := time.Now(); before.Before(end); {
			if err := b.run(ctx, "Chain", 1); err != nil {
				return err
			}
			after := time.Now()
			mutex.Lock()
			latencies = append(latencies, after.Sub(before).Seconds())
			mutex.Unlock()
			before = after
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	elapsed := time.Since(started).Seconds()
	sort.Float64s(latencies)
	rank := func(share float64) float64 {
		return latencies[min(len(latencies), int(math.Ceil(float64(len(latencies))*share)))-1] * 1000
	}
	return map[string]any{
		"workflows": len(latencies), "workflows_per_s": float64(len(latencies)) / elapsed,
		"p50_ms": rank(0.5), "p99_ms": rank(0.99), "p99_9_ms": rank(0.999),
	}, nil
}

func (b *bench) timed(ctx context.Context, workflow string, count int, countName, rateName string) (map[string]any, error) {
	if err := b.run(ctx, workflow, 2); err != nil {
		return nil, err
	}
	started := time.Now()
	if err := b.run(ctx, workflow, count); err != nil {
		return nil, err
	}
	elapsed := time.Since(started).Seconds()
	return map[string]any{countName: count, "seconds": elapsed, rateName: float64(count) / elapsed}, nil
}

func (b *bench) countSignals(ctx context.Context, count int) error {
	run, err := b.start(ctx, "Counter", count)
	if err != nil {
		return err
	}
	var sent atomic.Int64
	err = atOnce(100, func() error {
		for sent.Add(1) <= int64(count) {
			if err := b.client.SignalWorkflow(ctx, run.GetID(), "", "add", nil); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return run.Get(ctx, nil)
}

func (b *bench) signals(ctx context.Context, count int) (map[string]any, error) {
	if err := b.countSignals(ctx, 2); err != nil {
		return nil, err
	}
	started := time.Now()
	if err := b.countSignals(ctx, count); err != nil {
		return nil, err
	}
	elapsed := time.Since(started).Seconds()
	return map[string]any{"signals": count, "seconds": elapsed, "signals_per_s": float64(count) / elapsed}, nil
}

func (b *bench) sleeping(ctx context.Context, count int, seconds float64) (map[string]any, error) {
	if err := b.run(ctx, "Chain", 1); err != nil {
		return nil, err
	}
	before := resident(b.serverPID)
	started := time.Now()
	end := started.Add(time.Duration(seconds * float64(time.Second)))
	var next, done atomic.Int64
	err := atOnce(100, func() error {
		for next.Add(1) <= int64(count) && time.Now().Before(end) {
			if _, err := b.start(ctx, "Sleeper"); err != nil {
				return err
			}
			done.Add(1)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	// The worker takes starts in order: once this last one has run an activity, the others sleep.
	if err := b.run(ctx, "Chain", 1); err != nil {
		return nil, err
	}
	elapsed := time.Since(started).Seconds()
	grown := max(0, resident(b.serverPID)-before)
	return map[string]any{
		"workflows": done.Load(), "seconds": elapsed, "started_per_s": float64(done.Load()) / elapsed,
		"bytes_per_workflow": float64(grown) / float64(done.Load()),
	}, nil
}

func replay(history io.Reader) (map[string]any, error) {
	parsed, err := client.HistoryFromJSON(history, client.HistoryJSONOptions{})
	if err != nil {
		return nil, err
	}
	replayer := worker.NewWorkflowReplayer()
	replayer.RegisterWorkflow(Chain)
	started := time.Now()
	if err := replayer.ReplayWorkflowHistory(quiet{}, parsed); err != nil {
		return nil, err
	}
	elapsed := time.Since(started).Seconds()
	events := len(parsed.GetEvents())
	return map[string]any{"events": events, "seconds": elapsed, "events_per_s": float64(events) / elapsed}, nil
}

// resident is the resident memory of this process and the server's, in bytes.
func resident(serverPID int) int64 {
	runtime.GC()
	var total int64
	for _, pid := range []int{os.Getpid(), serverPID} {
		if pid == 0 {
			continue
		}
		output, err := exec.Command("ps", "-o", "rss=", "-p", strconv.Itoa(pid)).Output()
		if err != nil {
			continue
		}
		kib, err := strconv.ParseInt(strings.TrimSpace(string(output)), 10, 64)
		if err == nil {
			total += kib * 1024
		}
	}
	return total
}

func measure(ctx context.Context, b *bench, workload string, count int, sleepingSeconds float64) (map[string]any, error) {
	switch {
	case strings.HasPrefix(workload, "one_activity"):
		return b.oneActivity(ctx, count)
	case strings.HasPrefix(workload, "chain"):
		return b.timed(ctx, "Chain", count, "steps", "steps_per_s")
	case workload == "fan_out":
		return b.timed(ctx, "FanOut", count, "activities", "activities_per_s")
	case workload == "signals":
		return b.signals(ctx, count)
	case workload == "sleeping":
		return b.sleeping(ctx, count, sleepingSeconds)
	case workload == "first_result":
		return map[string]any{}, b.run(ctx, "Chain", 1)
	}
	return nil, fmt.Errorf("unknown workload %q", workload)
}

func main() {
	address := flag.String("address", "127.0.0.1:7233", "where the server listens")
	workload := flag.String("workload", "one_activity", "which workload")
	count := flag.Int("count", 1, "how many: clients in flight, steps, activities, signals or sleepers")
	seconds := flag.Float64("seconds", 5, "for how long one_activity starts new workflows")
	sleepingSeconds := flag.Float64("sleeping-seconds", 30, "for how long sleeping starts new workflows")
	serverPID := flag.Int("server-pid", 0, "the server's process, whose memory counts")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()

	var metrics map[string]any
	var err error
	if *workload == "replay" {
		metrics, err = replay(os.Stdin)
	} else {
		metrics, err = withWorker(ctx, *address, func(b *bench) (map[string]any, error) {
			b.seconds, b.serverPID = *seconds, *serverPID
			return measure(ctx, b, *workload, *count, *sleepingSeconds)
		})
	}
	if err != nil {
		log.Fatal(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(metrics); err != nil {
		log.Fatal(err)
	}
}

func withWorker(
	ctx context.Context, address string, function func(*bench) (map[string]any, error),
) (map[string]any, error) {
	c, err := client.DialContext(ctx, client.Options{HostPort: address, Logger: quiet{}})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	b := &bench{client: c, queue: fmt.Sprintf("bench-%d", os.Getpid())}
	w := worker.New(c, b.queue, worker.Options{
		MaxConcurrentActivityTaskPollers: 16, MaxConcurrentWorkflowTaskPollers: 16,
	})
	for name, function := range map[string]any{"Chain": Chain, "FanOut": FanOut, "Counter": Counter, "Sleeper": Sleeper} {
		w.RegisterWorkflowWithOptions(function, workflow.RegisterOptions{Name: name})
	}
	w.RegisterActivity(act)
	if err := w.Start(); err != nil {
		return nil, err
	}
	defer w.Stop()
	return function(b)
}
