"""What the compiled form of ``deadlines.py`` keeps in C. A new attribute of the class goes here as well."""


cdef class Deadlines:
    cdef:
        public object _loop
        public object _wheel
        public object _tick

    cpdef object watch(self, object future, double seconds)
    cpdef object unwatch(self, object watch)
