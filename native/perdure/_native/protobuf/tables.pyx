"""Which field of a struct has which number and kind: filled from outside, as are the parts that :func:`configure` sets."""

cimport cython
from cpython.ref cimport PyObject


@cython.final
cdef class Field:
    """One field of a table."""


@cython.final
cdef class Table:
    """The fields of one message, in the order of the struct."""

    def __init__(self, message_type, str full_name, tuple defaults):
        self.message_type = message_type
        self.full_name = full_name
        self.defaults = defaults
        self.fields = []
        self.far = {}
        self.extra = []
        self.size = len(defaults)
        if self.size > MAX_FIELDS:
            raise ValueError(f"{full_name} has more than {MAX_FIELDS} fields")

    def fill(self, list fields not None):
        """Set the fields: ``(index, name, number, kind, mode, map key's kind, table or variants)``."""
        cdef Field field
        for index, name, number, kind, mode, key_kind, sub in fields:
            field = _new_field(index, name, number, kind, mode, key_kind)
            self.fields.append(field)
            if kind == VARIANT:
                field.variants = {}
                for variant, table in sub.items():
                    field.variants[(<Table> table).message_type] = (variant, table)
                    self._add_variant(index, name, variant, table)
            else:
                field.sub = sub
                self._map(number, field)

    cdef int _add_variant(self, int index, str name, int number, Table table) except -1:
        cdef Field field = _new_field(index, name, number, MESSAGE, OPTIONAL, 0)
        field.sub = table
        self.extra.append(field)
        return self._map(number, field)

    cdef int _map(self, int number, Field field) except -1:
        if number < DIRECT:
            self.near[number] = <PyObject*> field
        else:
            self.far[number] = field
        return 0


cdef Field _new_field(int index, str name, int number, int kind, int mode, int key_kind):
    cdef Field field = Field.__new__(Field)
    field.index = index
    field.name = name
    field.number = number
    field.kind = kind
    field.mode = mode
    field.key_kind = key_kind
    return field


@cython.final
cdef class Parts:
    """What writing and reading need besides a message's own table."""

    def __init__(self):
        self.attributes = {}


#: Filled by :func:`configure`.
parts = Parts()


def configure(*, table_of, table_named, unknown, tuple event_numbers, dict attributes, Table extras):
    """Set what is needed besides a message's own table.

    ``table_of(struct)`` and ``table_named(full name)`` find tables; ``unknown(type url, bytes)`` holds a message in an
    Any that has none. Of history events: the numbers of id, time, type, version, task id and may-ignore; event type ->
    (number, function that returns its attributes' table); and the table of what follows the attributes.
    """
    cdef Parts p = parts
    p.table_of = table_of
    p.table_named = table_named
    p.unknown = unknown
    p.attributes = dict(attributes)
    p.extras = extras
    p.n_id, p.n_time, p.n_type, p.n_version, p.n_task_id, p.n_ignore = event_numbers
