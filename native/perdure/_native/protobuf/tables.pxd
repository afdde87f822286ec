from cpython.ref cimport PyObject


cpdef enum Kind:
    # How a value is written; those up to BOOL are varints, those from MESSAGE on are blocks of a shape of their own.
    INT64 = 0
    INT32 = 1
    UINT32 = 2
    BOOL = 3
    STRING = 4
    BYTES = 5
    DOUBLE = 6
    FLOAT = 7
    MESSAGE = 8
    TIMESTAMP = 9
    DURATION = 10
    EMPTY = 11
    FIELD_MASK = 12
    ANY = 13
    DOUBLE_VALUE = 14
    EVENT = 15
    VARIANT = 16


cpdef enum Mode:
    # How often a value may be there: PLAIN is left out when it is the default, OPTIONAL is None when it is absent.
    PLAIN = 0
    OPTIONAL = 1
    REPEATED = 2
    MAP = 3


cdef enum:
    DIRECT = 128  # field numbers below are looked up in an array
    MAX_FIELDS = 64
    NS = 1_000_000_000


cdef class Field:
    cdef:
        readonly str name
        int index            # in the struct
        int number
        int kind
        int mode
        int key_kind
        Table sub
        dict variants        # struct -> (number, table)


cdef class Table:
    cdef:
        readonly object message_type
        readonly str full_name
        tuple defaults
        list fields
        dict far                       # number -> field, from DIRECT on
        PyObject* near[DIRECT]         # borrowed from fields and extra
        list extra                     # fields that stand for one variant
        int size

    cdef int _add_variant(self, int index, str name, int number, Table table) except -1
    cdef int _map(self, int number, Field field) except -1


cdef class Parts:
    cdef:
        object table_of      # struct -> table
        object table_named   # full name -> table, or None
        object unknown       # makes what stands for a message without a table: (type url, bytes)
        dict attributes      # event type -> (number, function that returns the attributes' table)
        Table extras         # of what follows the attributes
        int n_id, n_time, n_type, n_version, n_task_id, n_ignore
