/* Preloaded into a process that writes a store: notes every write and sync of the files of one folder, in order, and
 * lets chosen ones fail. tests/store/power_loss.py reads the notes.
 *
 * SHIM_FOLDER  the folder
 * SHIM_TRACE   where the notes go
 * SHIM_FAULT   "file call first count errno": calls number first .. first + count - 1 of a kind ("write", "sync") on a file
 *              fail; file may end with "*"
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

struct note { char kind; char pad[3]; uint32_t name; uint64_t at; uint64_t size; };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int trace = -1;
static char folder[4096];
static size_t folder_size;
static char fault_file[256], fault_call[16];
static long fault_first, fault_count, fault_errno, fault_seen;
static uint64_t syncs;

__attribute__((constructor)) static void begin(void)
{
    const char *fault = getenv("SHIM_FAULT");
    if (!getenv("SHIM_FOLDER") || !realpath(getenv("SHIM_FOLDER"), folder))
        return;
    folder_size = strlen(folder);
    trace = syscall(SYS_openat, AT_FDCWD, getenv("SHIM_TRACE"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fault)
        sscanf(fault, "%255s %15s %ld %ld %ld", fault_file, fault_call, &fault_first, &fault_count, &fault_errno);
}

/* The file's name in the folder ("" for the folder), or NULL. */
static const char *name_of(int fd, char *path)
{
    char link[64];
    ssize_t size;
    if (trace < 0)
        return NULL;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    size = readlink(link, path, 4095);
    if (size < (ssize_t)folder_size)
        return NULL;
    path[size] = 0;
    if (strncmp(path, folder, folder_size))
        return NULL;
    return path[folder_size] == '/' ? path + folder_size + 1 : path[folder_size] ? NULL : path + folder_size;
}

static void put(const void *data, size_t size)
{
    const char *at = data;
    while (size) {
        long done = syscall(SYS_write, trace, at, size);
        if (done <= 0)
            abort();
        at += done;
        size -= done;
    }
}

static void note(char kind, const char *name, uint64_t at, const struct iovec *parts, int count, uint64_t size)
{
    struct note n = {kind, {0}, strlen(name), at, size};
    put(&n, sizeof n);
    put(name, n.name);
    for (int i = 0; i < count && size; i++) {
        size_t part = parts[i].iov_len < size ? parts[i].iov_len : size;
        put(parts[i].iov_base, part);
        size -= part;
    }
}

/* Under the lock. */
static int fails(const char *name, const char *call)
{
    size_t size = strlen(fault_file);
    if (!size || strcmp(call, fault_call))
        return 0;
    if (fault_file[size - 1] == '*' ? strncmp(name, fault_file, size - 1) : strcmp(name, fault_file))
        return 0;
    fault_seen++;
    return fault_seen >= fault_first && fault_seen < fault_first + fault_count;
}

static ssize_t do_write(int fd, const struct iovec *parts, int count, off_t at, int placed)
{
    char path[4096];
    const char *name = name_of(fd, path);
    ssize_t done;
    if (!name)
        return placed ? syscall(SYS_pwritev, fd, parts, count, at, 0L) : syscall(SYS_writev, fd, parts, count);
    pthread_mutex_lock(&lock);
    if (fails(name, "write")) {
        pthread_mutex_unlock(&lock);
        errno = fault_errno;
        return -1;
    }
    if (!placed)
        at = lseek(fd, 0, SEEK_CUR);
    done = placed ? syscall(SYS_pwritev, fd, parts, count, at, 0L) : syscall(SYS_writev, fd, parts, count);
    if (done > 0)
        note(fcntl(fd, F_GETFL) & O_DSYNC ? 'D' : 'W', name, at, parts, count, done);
    pthread_mutex_unlock(&lock);
    return done;
}

static int do_sync(int fd, long call)
{
    char path[4096];
    const char *name = name_of(fd, path);
    uint64_t number;
    int rc;
    if (!name)
        return syscall(call, fd);
    pthread_mutex_lock(&lock);
    if (fails(name, "sync")) {
        pthread_mutex_unlock(&lock);
        errno = fault_errno;
        return -1;
    }
    number = ++syncs;
    note('S', name, number, NULL, 0, 0);
    pthread_mutex_unlock(&lock);
    rc = syscall(call, fd);
    pthread_mutex_lock(&lock);
    if (rc == 0)
        note('E', name, number, NULL, 0, 0);
    pthread_mutex_unlock(&lock);
    return rc;
}

static ssize_t one(int fd, const void *data, size_t size, off_t at, int placed)
{
    struct iovec part = {(void *)data, size};
    return do_write(fd, &part, 1, at, placed);
}

ssize_t write(int fd, const void *data, size_t size) { return one(fd, data, size, 0, 0); }
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) { return one(fd, data, size, at, 1); }
ssize_t pwrite64(int fd, const void *data, size_t size, off_t at) { return one(fd, data, size, at, 1); }
ssize_t writev(int fd, const struct iovec *parts, int count) { return do_write(fd, parts, count, 0, 0); }
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) { return do_write(fd, parts, count, at, 1); }
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off_t at) { return do_write(fd, parts, count, at, 1); }
int fdatasync(int fd) { return do_sync(fd, SYS_fdatasync); }
int fsync(int fd) { return do_sync(fd, SYS_fsync); }

static int do_open(int at, const char *file, int flags, va_list arguments)
{
    char path[4096];
    const char *name;
    int mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(arguments, int) : 0;
    int fd = syscall(SYS_openat, at, file, flags, mode);
    if (fd >= 0 && flags & O_CREAT && (name = name_of(fd, path))) {
        pthread_mutex_lock(&lock);
        note('C', name, 0, NULL, 0, 0);
        pthread_mutex_unlock(&lock);
    }
    return fd;
}

#define OPEN(function, parameters, at) \
    int function parameters \
    { \
        va_list arguments; \
        int fd; \
        va_start(arguments, flags); \
        fd = do_open(at, file, flags, arguments); \
        va_end(arguments); \
        return fd; \
    }
OPEN(open, (const char *file, int flags, ...), AT_FDCWD)
OPEN(open64, (const char *file, int flags, ...), AT_FDCWD)
OPEN(openat, (int folder_fd, const char *file, int flags, ...), folder_fd)
OPEN(openat64, (int folder_fd, const char *file, int flags, ...), folder_fd)

int rename(const char *from, const char *to)
{
    struct iovec part;
    const char *name = strrchr(to, '/');
    int rc;
    pthread_mutex_lock(&lock);
    rc = syscall(SYS_rename, from, to);
    if (rc == 0 && trace >= 0 && !strncmp(from, folder, folder_size) && name) {
        part.iov_base = (void *)(name + 1);
        part.iov_len = strlen(name + 1);
        note('R', strrchr(from, '/') + 1, 0, &part, 1, part.iov_len);
    }
    pthread_mutex_unlock(&lock);
    return rc;
}

int ftruncate(int fd, off_t size)
{
    char path[4096];
    const char *name = name_of(fd, path);
    int rc;
    pthread_mutex_lock(&lock);
    rc = syscall(SYS_ftruncate, fd, size);
    if (name && rc == 0)
        note('T', name, size, NULL, 0, 0);
    pthread_mutex_unlock(&lock);
    return rc;
}
int ftruncate64(int fd, off_t size) { return ftruncate(fd, size); }
