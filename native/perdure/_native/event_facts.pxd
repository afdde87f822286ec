from perdure._native.events cimport HistoryEvent

cdef object peek(HistoryEvent event)
cdef str event_name(int event_type)
cdef str name_of(object type_message)
cdef tuple patch_details(HistoryEvent event)
cdef object local_details(HistoryEvent event)
