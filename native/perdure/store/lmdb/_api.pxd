# What the store uses of LMDB 0.9's stable C API. The functions are looked up at run time.

cdef extern from *:
    """
    typedef struct perdure_mdb_env MDB_env;
    typedef struct perdure_mdb_txn MDB_txn;
    typedef struct perdure_mdb_cursor MDB_cursor;
    typedef struct { size_t mv_size; void *mv_data; } MDB_val;
    typedef struct {
        void *me_mapaddr; size_t me_mapsize; size_t me_last_pgno; size_t me_last_txnid;
        unsigned int me_maxreaders; unsigned int me_numreaders;
    } MDB_envinfo;
    typedef struct {
        unsigned int ms_psize; unsigned int ms_depth;
        size_t ms_branch_pages; size_t ms_leaf_pages; size_t ms_overflow_pages; size_t ms_entries;
    } MDB_stat;
    """
    ctypedef struct MDB_env:
        pass
    ctypedef struct MDB_txn:
        pass
    ctypedef struct MDB_cursor:
        pass
    ctypedef struct MDB_val:
        size_t mv_size
        void* mv_data
    ctypedef struct MDB_envinfo:
        size_t me_mapsize
        size_t me_last_pgno
        size_t me_last_txnid
    ctypedef struct MDB_stat:
        unsigned int ms_psize
        size_t ms_branch_pages
        size_t ms_leaf_pages
        size_t ms_overflow_pages
        size_t ms_entries

# Flags of an environment, a transaction and a database.
cdef enum:
    MDB_NOSUBDIR = 0x4000
    MDB_NOSYNC = 0x10000
    MDB_RDONLY = 0x20000
    MDB_NOTLS = 0x200000
    MDB_NORDAHEAD = 0x800000
    MDB_CREATE = 0x40000
    MDB_DUPSORT = 0x04
    MDB_DUPFIXED = 0x10

# Moves of a cursor.
cdef enum:
    MDB_FIRST = 0
    MDB_GET_BOTH_RANGE = 3
    MDB_LAST = 6
    MDB_NEXT = 8
    MDB_NEXT_DUP = 9
    MDB_NEXT_NODUP = 11
    MDB_PREV = 12
    MDB_SET_RANGE = 17

# Results; positive ones are errno.
cdef enum:
    MDB_NOTFOUND = -30798
    MDB_PAGE_NOTFOUND = -30797
    MDB_CORRUPTED = -30796
    MDB_PANIC = -30795
    MDB_VERSION_MISMATCH = -30794
    MDB_INVALID = -30793
    MDB_MAP_FULL = -30792

cdef struct Api:
    char* (*version)(int*, int*, int*) noexcept nogil
    char* (*strerror)(int) noexcept nogil
    int (*env_create)(MDB_env**) noexcept nogil
    int (*env_open)(MDB_env*, const char*, unsigned int, unsigned int) noexcept nogil
    int (*env_stat)(MDB_env*, MDB_stat*) noexcept nogil
    int (*env_info)(MDB_env*, MDB_envinfo*) noexcept nogil
    int (*env_sync)(MDB_env*, int) noexcept nogil
    int (*env_get_fd)(MDB_env*, int*) noexcept nogil
    void (*env_close)(MDB_env*) noexcept nogil
    int (*env_set_mapsize)(MDB_env*, size_t) noexcept nogil
    int (*env_set_flags)(MDB_env*, unsigned int, int) noexcept nogil
    int (*env_set_maxdbs)(MDB_env*, unsigned int) noexcept nogil
    int (*reader_check)(MDB_env*, int*) noexcept nogil
    int (*txn_begin)(MDB_env*, MDB_txn*, unsigned int, MDB_txn**) noexcept nogil
    int (*txn_commit)(MDB_txn*) noexcept nogil
    size_t (*txn_id)(MDB_txn*) noexcept nogil
    void (*txn_abort)(MDB_txn*) noexcept nogil
    void (*txn_reset)(MDB_txn*) noexcept nogil
    int (*txn_renew)(MDB_txn*) noexcept nogil
    int (*dbi_open)(MDB_txn*, const char*, unsigned int, unsigned int*) noexcept nogil
    int (*stat)(MDB_txn*, unsigned int, MDB_stat*) noexcept nogil
    int (*get)(MDB_txn*, unsigned int, MDB_val*, MDB_val*) noexcept nogil
    int (*put)(MDB_txn*, unsigned int, MDB_val*, MDB_val*, unsigned int) noexcept nogil
    int (*delete)(MDB_txn*, unsigned int, MDB_val*, MDB_val*) noexcept nogil
    int (*cursor_open)(MDB_txn*, unsigned int, MDB_cursor**) noexcept nogil
    void (*cursor_close)(MDB_cursor*) noexcept nogil
    int (*cursor_get)(MDB_cursor*, MDB_val*, MDB_val*, int) noexcept nogil
    int (*cursor_del)(MDB_cursor*, unsigned int) noexcept nogil
    int (*cursor_count)(MDB_cursor*, size_t*) noexcept nogil

# Results of our own, outside LMDB's and errno's.
cdef enum:
    FOREIGN = -1            # another program's environment
    NEWER = -2              # a later format
    CUT_OFF = -3            # the file is too short
    INCOMPLETE = -4         # files are missing or of another store
    LOG_DAMAGED = -5        # where it must be whole
    SHARED = -6             # another process has data.mdb open

cdef Api mdb                # usable after resolve()

cdef int resolve() except -1
cpdef object store_error(int code, str what)
