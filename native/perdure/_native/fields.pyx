"""Reading the fields of messages faster than Python does.

A field of a struct lies at a fixed place in it. Python finds that place by a search through the type for each reading; code
that was compiled, which reads most fields, does so every time. :func:`install` gives a class a reader that remembers places
by type and name, as long as the type is not changed. All else, what is no field, what is not set, and every other
question about attributes, goes Python's way.
"""

cdef extern from *:
    """
    #include <structmember.h>

    enum { PERDURE_PLACES = 8192 };
    typedef struct {
        unsigned int version;      /* of the type; no two types have the same, and a type that changes gets another */
        PyObject *name;            /* owned */
        Py_ssize_t offset;
    } perdure_place;
    static perdure_place perdure_places[PERDURE_PLACES];

    static inline perdure_place *perdure_place_of(unsigned int version, PyObject *name) {
        return &perdure_places[(version * 61u + (unsigned int)((size_t)name >> 4)) & (PERDURE_PLACES - 1)];
    }

    static void perdure_remember(PyTypeObject *type, PyObject *name) {
        PyObject *found;
        PyMemberDef *member;
        perdure_place *place;
        if (!PyUnicode_CheckExact(name) || !PyUnicode_CHECK_INTERNED(name)) return;
        found = PyObject_GetAttr((PyObject *)type, name);
        if (found == NULL) { PyErr_Clear(); return; }
        if (Py_TYPE(found) == &PyMemberDescr_Type && type->tp_version_tag
                && PyType_IsSubtype(type, ((PyDescrObject *)found)->d_type)) {
            member = ((PyMemberDescrObject *)found)->d_member;
            if (member->type == T_OBJECT_EX) {
                place = perdure_place_of(type->tp_version_tag, name);
                Py_INCREF(name);
                Py_XSETREF(place->name, name);
                place->version = type->tp_version_tag;
                place->offset = member->offset;
            }
        }
        Py_DECREF(found);
    }

    static PyObject *perdure_read(PyObject *self, PyObject *name) {
        PyTypeObject *type = Py_TYPE(self);
        perdure_place *place = perdure_place_of(type->tp_version_tag, name);
        PyObject *value;
        if (place->name == name && place->version == type->tp_version_tag) {
            value = *(PyObject **)((char *)self + place->offset);
            if (value != NULL) return Py_NewRef(value);
        }
        value = PyObject_GenericGetAttr(self, name);
        if (value != NULL) perdure_remember(type, name);
        return value;
    }

    static int perdure_install_reader(PyObject *cls) {
    #ifdef Py_GIL_DISABLED
        (void)cls; (void)perdure_read;
        return 0;                  /* threads would have to agree on the places */
    #else
        PyTypeObject *type = (PyTypeObject *)cls;
        if (type->tp_getattro != PyObject_GenericGetAttr) return 0;
        type->tp_getattro = perdure_read;
        PyType_Modified(type);
        return 1;
    #endif
    }
    """
    int perdure_install_reader(object cls)


def install(cls):
    """Have the fields of ``cls`` read faster, which keeps them in slots.

    Classes derived from it need a call of their own. False if it reads its attributes in a way of its own, or on a Python without GIL:
    then nothing has changed.
    """
    if not isinstance(cls, type):
        raise TypeError(f"install() takes a class, not {cls!r}.")
    return bool(perdure_install_reader(cls))
