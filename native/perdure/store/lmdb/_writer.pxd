from perdure.store.lmdb._home cimport Home, Node, Queue

cdef int write_group(Home* home, Queue* group) noexcept nogil
cdef void write_alone(Home* home, Node* node) noexcept nogil
cdef void tidy_alone(Home* home) noexcept nogil
cdef int commit_open(Home* home) noexcept nogil
cdef void* run_writer(void* home) noexcept nogil
cdef void push(Queue* queue, Node* node) noexcept nogil
cdef void free_node(Node* node) noexcept nogil
