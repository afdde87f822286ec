"""What the compiled form of ``updates.py`` keeps in C."""

cimport cython
from libc.stdint cimport int64_t

from perdure._native.mutable_state cimport ActivityInfo, MutableState
from perdure._native.events cimport HistoryEvent, encode_batch
from perdure.engine.run cimport Run


@cython.locals(s=MutableState, event=HistoryEvent, due=int64_t, events=list, batch=bytes)
cpdef tuple make_update(Run run, object next_task_id)

@cython.locals(s=MutableState, activity=ActivityInfo, put=list, delete=list)
cdef object _change_rows(Run run, object update, object next_task_id)
