"""Types of the compiled form of ``_plain.py``."""

cimport cython


@cython.locals(payloads=list, data=bytes)
cpdef list plain_payloads(object values, object otherwise)
@cython.locals(values=list, index=Py_ssize_t, entry=tuple)
cpdef list plain_values(object payloads, list hints, dict known, object otherwise)
