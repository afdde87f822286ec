"""LMDB's C functions, found inside the ``lmdb`` package's extension, and what their results mean."""

import errno as errors
import os

from perdure.store.api import StoreCorruptError, StoreUnavailableError

cdef frozenset _NO_ROOM = frozenset((errors.ENOSPC, errors.EDQUOT, errors.EFBIG))


cdef extern from "<dlfcn.h>" nogil:
    int RTLD_NOW
    void* dlopen(const char*, int)
    void* dlsym(void*, const char*)
    char* dlerror()


cdef bint _resolved = False


cdef str _text(int code):
    if not _resolved:
        return f"error {code}"
    return mdb.strerror(code).decode("utf-8", "replace")


cpdef object store_error(int code, str what):
    """The store's exception for a failed call: ``what`` begins the sentence, LMDB's words end it."""
    if code == FOREIGN:
        return StoreCorruptError(f"{what}: it holds an LMDB environment of another program")
    if code == CUT_OFF:
        return StoreCorruptError(f"{what}: data.mdb in it is cut off")
    if code == INCOMPLETE:
        return StoreCorruptError(
            f"{what}: data.mdb was not closed in order, and the files checkpoint, log-0 and log-1 that belong to it "
            "are missing or another store's: copy the whole folder"
        )
    if code == LOG_DAMAGED:
        return StoreCorruptError(f"{what}: the log (log-0, log-1) is missing or damaged")
    if code == SHARED:
        return StoreUnavailableError(f"{what}: another program has data.mdb open, close it")
    if code == MDB_INVALID:
        return StoreCorruptError(f"{what}: data.mdb in it is not an LMDB file, or is damaged")
    if code == MDB_VERSION_MISMATCH:
        return StoreCorruptError(f"{what}: data.mdb in it was written by another version of LMDB")
    if code == MDB_CORRUPTED or code == MDB_PAGE_NOTFOUND:
        return StoreCorruptError(f"{what}: {_text(code)}")
    if code in _NO_ROOM:
        return StoreUnavailableError(f"{what}: no room is left ({_text(code)})")
    return StoreUnavailableError(f"{what}: {_text(code)}")


cdef void* _symbol(void* handle, bytes name, str path) except NULL:
    cdef void* symbol = dlsym(handle, name)
    if symbol == NULL:
        raise ImportError(f"{path} has no function {name.decode()}: perdure needs lmdb 1.6 to 2.x built with LMDB 0.9")
    return symbol


cdef int resolve() except -1:
    """Find LMDB's functions in the lmdb package's extension, once."""
    global _resolved
    cdef void* h
    cdef int major = 0, minor = 0, patch = 0
    if _resolved:
        return 0
    import lmdb.cpython
    path = lmdb.cpython.__file__
    h = dlopen(os.fsencode(path), RTLD_NOW)
    if h == NULL:
        raise ImportError(f"{path} cannot be opened as a library: {dlerror().decode('utf-8', 'replace')}")
    mdb.version = <char* (*)(int*, int*, int*) noexcept nogil> _symbol(h, b"mdb_version", path)
    mdb.strerror = <char* (*)(int) noexcept nogil> _symbol(h, b"mdb_strerror", path)
    mdb.env_create = <int (*)(MDB_env**) noexcept nogil> _symbol(h, b"mdb_env_create", path)
    mdb.env_open = <int (*)(MDB_env*, const char*, unsigned int, unsigned int) noexcept nogil> _symbol(
        h, b"mdb_env_open", path)
    mdb.env_stat = <int (*)(MDB_env*, MDB_stat*) noexcept nogil> _symbol(h, b"mdb_env_stat", path)
    mdb.env_info = <int (*)(MDB_env*, MDB_envinfo*) noexcept nogil> _symbol(h, b"mdb_env_info", path)
    mdb.env_sync = <int (*)(MDB_env*, int) noexcept nogil> _symbol(h, b"mdb_env_sync", path)
    mdb.env_get_fd = <int (*)(MDB_env*, int*) noexcept nogil> _symbol(h, b"mdb_env_get_fd", path)
    mdb.env_close = <void (*)(MDB_env*) noexcept nogil> _symbol(h, b"mdb_env_close", path)
    mdb.env_set_mapsize = <int (*)(MDB_env*, size_t) noexcept nogil> _symbol(h, b"mdb_env_set_mapsize", path)
    mdb.env_set_flags = <int (*)(MDB_env*, unsigned int, int) noexcept nogil> _symbol(h, b"mdb_env_set_flags", path)
    mdb.env_set_maxdbs = <int (*)(MDB_env*, unsigned int) noexcept nogil> _symbol(h, b"mdb_env_set_maxdbs", path)
    mdb.reader_check = <int (*)(MDB_env*, int*) noexcept nogil> _symbol(h, b"mdb_reader_check", path)
    mdb.txn_begin = <int (*)(MDB_env*, MDB_txn*, unsigned int, MDB_txn**) noexcept nogil> _symbol(
        h, b"mdb_txn_begin", path)
    mdb.txn_commit = <int (*)(MDB_txn*) noexcept nogil> _symbol(h, b"mdb_txn_commit", path)
    mdb.txn_id = <size_t (*)(MDB_txn*) noexcept nogil> _symbol(h, b"mdb_txn_id", path)
    mdb.txn_abort = <void (*)(MDB_txn*) noexcept nogil> _symbol(h, b"mdb_txn_abort", path)
    mdb.txn_reset = <void (*)(MDB_txn*) noexcept nogil> _symbol(h, b"mdb_txn_reset", path)
    mdb.txn_renew = <int (*)(MDB_txn*) noexcept nogil> _symbol(h, b"mdb_txn_renew", path)
    mdb.dbi_open = <int (*)(MDB_txn*, const char*, unsigned int, unsigned int*) noexcept nogil> _symbol(
        h, b"mdb_dbi_open", path)
    mdb.stat = <int (*)(MDB_txn*, unsigned int, MDB_stat*) noexcept nogil> _symbol(h, b"mdb_stat", path)
    mdb.get = <int (*)(MDB_txn*, unsigned int, MDB_val*, MDB_val*) noexcept nogil> _symbol(h, b"mdb_get", path)
    mdb.put = <int (*)(MDB_txn*, unsigned int, MDB_val*, MDB_val*, unsigned int) noexcept nogil> _symbol(
        h, b"mdb_put", path)
    mdb.delete = <int (*)(MDB_txn*, unsigned int, MDB_val*, MDB_val*) noexcept nogil> _symbol(h, b"mdb_del", path)
    mdb.cursor_open = <int (*)(MDB_txn*, unsigned int, MDB_cursor**) noexcept nogil> _symbol(
        h, b"mdb_cursor_open", path)
    mdb.cursor_close = <void (*)(MDB_cursor*) noexcept nogil> _symbol(h, b"mdb_cursor_close", path)
    mdb.cursor_get = <int (*)(MDB_cursor*, MDB_val*, MDB_val*, int) noexcept nogil> _symbol(
        h, b"mdb_cursor_get", path)
    mdb.cursor_del = <int (*)(MDB_cursor*, unsigned int) noexcept nogil> _symbol(h, b"mdb_cursor_del", path)
    mdb.cursor_count = <int (*)(MDB_cursor*, size_t*) noexcept nogil> _symbol(h, b"mdb_cursor_count", path)
    mdb.version(&major, &minor, &patch)
    if (major, minor) != (0, 9):
        raise ImportError(f"{path} holds LMDB {major}.{minor}.{patch}, perdure needs LMDB 0.9 (lmdb 1.6 to 2.x)")
    _resolved = True
    return 0
