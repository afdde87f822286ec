"""How the outcome of an activity or a child workflow reaches the code that awaits it.

Temporal's Python SDK runs a task per operation; the outcome passes a future, a waiter and that task, one turn of the
event loop each, before the awaiting code runs. Concurrent code wakes up, and makes its commands, in the order of those
turns, so they are kept here to the very number, without the task: each turn is a handle in the loop's queue.
"""

import asyncio

from perdure._native.loop import Future

from perdure._native.loop cimport Handle, WorkflowLoopCore

cdef object _Future = Future

cdef object _CancelledError = asyncio.CancelledError


class Backoff(Exception):
    """The outcome of a local activity that is to be tried again, by the workflow itself, after a timer."""

    def __init__(self, seconds, attempt, original_schedule_time_ns):
        super().__init__("Backoff")
        self.seconds = seconds
        self.attempt = attempt
        self.original_schedule_time_ns = original_schedule_time_ns


cdef object _Backoff = Backoff

cdef enum Stage:
    NEW            # the task's first step is still to come
    WAITING
    ARRIVED        # the outcome is there, the waiter hears of it next
    WAKING         # the task wakes next
    SLEEPING       # a timer runs, then the operation is asked for again

cdef enum Turn:
    BEGIN
    ARRIVE
    WAKE
    CANCEL
    AGAIN


cdef class OperationTurn(Handle):
    """One turn in the loop's queue."""

    cdef:
        Operation _operation
        Turn _turn

    cdef int run(self) except -1:
        if self._turn == BEGIN:
            self._operation.begin()
        elif self._turn == ARRIVE:
            self._operation.arrive()
        elif self._turn == WAKE:
            self._operation.wake()
        elif self._turn == AGAIN:
            self._operation.again()
        else:
            self._operation.canceled()
        return 0

    def __repr__(self):
        return f"<OperationTurn of {self._operation._future!r}>"


cdef class Operation:
    """The way of one outcome to its future. The future answers ``_cancel_before_begin()``, ``_request_cancel()``,
    ``_cancel_wins()`` and ``_finish_canceled(msg)``."""

    cdef:
        WorkflowLoopCore _loop
        object _future
        object _result
        object _error
        object _message
        object _timer
        Stage _stage
        bint _has_outcome
        bint _is_cancel_due
        bint _must_cancel

    def __init__(self, WorkflowLoopCore loop not None, future not None):
        if not isinstance(future, _Future):
            raise TypeError(f"an operation needs a future of a workflow loop, not {type(future).__name__}")
        self._loop = loop
        self._future = future
        loop.number(future)
        self._stage = NEW
        self.next_turn(BEGIN)

    cdef int next_turn(self, Turn turn) except -1:
        cdef OperationTurn handle = OperationTurn.__new__(OperationTurn)
        handle._operation = self
        handle._turn = turn
        self._loop.push(handle)
        return 0

    def resolve(self, result, error):
        """The outcome is known. One that comes too early or again is ignored."""
        if self._has_outcome or self._stage == NEW or self._future is None:
            return
        self._has_outcome = True
        self._result = result
        self._error = error
        if not self._is_cancel_due:
            self._stage = ARRIVED
            self.next_turn(ARRIVE)

    def cancel(self, message):
        """Request cancellation. False when the operation is over."""
        if self._future is None:
            return False
        self._message = message
        if self._stage == NEW:
            self._future._cancel_before_begin()
            self._must_cancel = True
        elif self._stage == WAKING or self._is_cancel_due:
            self._must_cancel = True
        else:
            self._is_cancel_due = True
            self.next_turn(CANCEL)
        return True

    cdef int begin(self) except -1:
        if self._must_cancel:
            self.finish_canceled()
        else:
            self._stage = WAITING
        return 0

    cdef int arrive(self) except -1:
        if not self._is_cancel_due:
            self._stage = WAKING
            self.next_turn(WAKE)
        return 0

    cdef int wake(self) except -1:
        if self._must_cancel:
            self._must_cancel = False
            return self.take_cancellation()
        error = self._error
        if error is not None and isinstance(error, _Backoff):
            return self.sleep(error.seconds)
        future, self._future = self._future, None
        self._error = None
        if error is None:
            future.set_result(self._result)
        elif isinstance(error, _CancelledError):
            future._finish_canceled(None)
        else:
            future.set_exception(error)
        self._result = None
        return 0

    cdef int sleep(self, object seconds) except -1:
        self._stage = SLEEPING
        self._has_outcome = False
        self._timer = self._loop.call_later(seconds, self.slept)
        return 0

    def slept(self):
        """Called by the loop when the backoff is over."""
        if not self._is_cancel_due:
            self._timer = None
            self.next_turn(AGAIN)

    cdef int again(self) except -1:
        backoff, self._error = self._error, None
        self._stage = WAITING
        if self._must_cancel:
            self._must_cancel = False
            return self.finish_canceled()
        self._future._try_again(backoff)
        return 0

    cdef int canceled(self) except -1:
        self._is_cancel_due = False
        self._must_cancel = False
        if self._stage == SLEEPING:
            if self._timer is not None:
                self._timer.cancel()
            return self.finish_canceled()
        return self.take_cancellation()

    cdef int take_cancellation(self) except -1:
        if self._has_outcome and self._future._cancel_wins():
            return self.finish_canceled()
        self._future._request_cancel()
        if self._has_outcome:
            self._stage = ARRIVED
            self.next_turn(ARRIVE)
        else:
            self._stage = WAITING
        return 0

    cdef int finish_canceled(self) except -1:
        future, self._future = self._future, None
        future._finish_canceled(self._message)
        return 0
