/* Records what a process asks of its disk, in order, for the tests of power loss; and makes calls fail on request.

       LD_PRELOAD=recorder.so  POWERLOSS_ROOT=folder  POWERLOSS_TRACE=file  python workload.py

   Every call that changes files or names below the root becomes one entry of the trace. An entry is a header of 24
   bytes, little-endian (kind, payload length, two numbers), and its payload; recording.py reads them. Files are
   known by their inode numbers, and a hard link in a folder beside the trace keeps each number from being used again.

   Nothing is really flushed, since nothing really loses power: a flush is an entry and no more. So runs are fast.

   1. The entry of a call and the call itself are one critical section, over threads and processes, so that the order
      of entries is the order of effects. The lock is a POSIX record lock, which forked children do not inherit.
   2. A write through a descriptor with O_DSYNC or O_SYNC is followed by an entry LANDED.
   3. A flush that is made to fail leaves an entry FAILED. A write through such a descriptor that is made to fail has
      changed the file all the same, as far as can be read, but has not landed; any other has changed nothing.
   4. Calls that copy within the kernel are refused as not supported for what lies below the root, so that callers fall
      back to read and write. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { WRITE = 1, SYNC, TRUNCATE, CREATE, MKDIR, RENAME, UNLINK, MARK, LANDED, FAILED, LINK };

struct header {
    uint32_t kind, length;
    uint64_t first, second;
};

static char root[PATH_MAX], graves[PATH_MAX];
static int trace = -1;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

#define REAL(type, name, ...) \
    static type (*real_##name)(__VA_ARGS__); \
    if (!real_##name) real_##name = dlsym(RTLD_NEXT, #name)

/* ---- the trace ---- */

__attribute__((constructor)) static void begin(void) {
    const char *where = getenv("POWERLOSS_ROOT"), *file = getenv("POWERLOSS_TRACE");
    if (!where || !file || !realpath(where, root)) return;
    snprintf(graves, sizeof graves, "%.4000s.graves", file);
    REAL(int, open, const char *, int, ...);
    trace = real_open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static void enter(void) {
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    pthread_mutex_lock(&lock);
    while (fcntl(trace, F_SETLKW, &whole) == -1 && errno == EINTR) {}
}

static void leave(void) {
    int kept = errno;
    struct flock whole = {.l_type = F_UNLCK, .l_whence = SEEK_SET};
    fcntl(trace, F_SETLK, &whole);
    pthread_mutex_unlock(&lock);
    errno = kept;
}

static void note(uint32_t kind, uint64_t first, uint64_t second, const struct iovec *parts, int count) {
    int kept = errno;
    struct header header = {kind, 0, first, second};
    for (int i = 0; i < count; i++) header.length += parts[i].iov_len;
    REAL(ssize_t, writev, int, const struct iovec *, int);
    struct iovec all[1 + count];
    all[0] = (struct iovec){&header, sizeof header};
    for (int i = 0; i < count; i++) all[i + 1] = parts[i];
    size_t size = sizeof header + header.length;
    if (real_writev(trace, all, count + 1) != (ssize_t)size) abort();
    errno = kept;
}

static void note_text(uint32_t kind, uint64_t first, uint64_t second, const char *text) {
    struct iovec part = {(void *)text, strlen(text)};
    note(kind, first, second, &part, 1);
}

/* ---- which files and names are meant ---- */

static int below_root(const char *path) {
    size_t length = strlen(root);
    return !strncmp(path, root, length) && (path[length] == '/' || !path[length]);
}

static int is_traced(int fd) {
    char link[64], path[PATH_MAX];
    if (trace < 0 || fd < 0 || fd == trace) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    return below_root(path);
}

static uint64_t inode_of(int fd) {
    struct stat found;
    return fstat(fd, &found) ? 0 : found.st_ino;
}

struct place {
    uint64_t parent;
    char name[NAME_MAX + 1], path[PATH_MAX];
};

/* Whether a path lies below the root; if so, its parent's inode, its name, and the whole path. */
static int is_place(int dir, const char *path, struct place *place) {
    char joined[2 * PATH_MAX], parent[PATH_MAX];
    struct stat found;
    if (trace < 0 || !path) return 0;
    if (path[0] == '/' || dir == AT_FDCWD)
        snprintf(joined, sizeof joined, "%s%s", path[0] == '/' ? "" : "./", path);
    else
        snprintf(joined, sizeof joined, "/proc/self/fd/%d/%s", dir, path);
    size_t length = strlen(joined);
    while (length > 1 && joined[length - 1] == '/') joined[--length] = 0;
    char *slash = strrchr(joined, '/');
    if (!slash || strlen(slash + 1) > NAME_MAX) return 0;
    strcpy(place->name, slash + 1);
    *slash = 0;
    int kept = errno, ok = realpath(joined[0] ? joined : "/", parent) && below_root(parent) && !stat(parent, &found);
    errno = kept;
    if (!ok) return 0;
    place->parent = found.st_ino;
    return snprintf(place->path, sizeof place->path, "%s/%s", parent, place->name) < (int)sizeof place->path;
}

/* ---- what is asked for by the workload ---- */

/* Puts a text into the trace: what had been acknowledged by then. */
void powerloss_mark(const char *text) {
    if (trace < 0) return;
    enter();
    note_text(MARK, 0, 0, text);
    leave();
}

static int failing_kind, failing_error, failing_again;
static long failing_after;

/* After so many more calls of a kind, the next fails with an errno; and those behind it if ``again``. Kind 0: none. */
void powerloss_fail(int kind, long after, int error, int again) {
    failing_after = after, failing_error = error, failing_again = again;
    failing_kind = kind;
}

/* The errno that this call is to fail with, or 0. */
static int fails(int kind) {
    if (kind != failing_kind || failing_after-- > 0) return 0;
    if (failing_again) failing_after = 0;
    else failing_kind = 0;
    return errno = failing_error;
}

/* ---- content ---- */

static ssize_t write_at(int fd, const struct iovec *parts, int count, off_t offset, int has_offset) {
    REAL(ssize_t, writev, int, const struct iovec *, int);
    REAL(ssize_t, pwritev64, int, const struct iovec *, int, off_t);
    if (!is_traced(fd))
        return has_offset ? real_pwritev64(fd, parts, count, offset) : real_writev(fd, parts, count);
    enter();
    ssize_t done = -1;
    int flags = fcntl(fd, F_GETFL), failed = fails(WRITE), is_through = flags & O_DSYNC;
    if (!failed || is_through) {
        if (!has_offset) offset = lseek(fd, 0, flags & O_APPEND ? SEEK_END : SEEK_CUR);
        done = has_offset ? real_pwritev64(fd, parts, count, offset) : real_writev(fd, parts, count);
        if (done >= 0) {
            size_t size = 0;
            for (int i = 0; i < count; i++) size += parts[i].iov_len;
            if ((size_t)done != size) abort(); /* Short writes do not happen on the file systems used. */
            note(WRITE, inode_of(fd), offset, parts, count);
            if (is_through && !failed) note(LANDED, inode_of(fd), offset, NULL, 0);
        }
    }
    if (failed) {
        errno = failed;
        done = -1;
    }
    leave();
    return done;
}

ssize_t write(int fd, const void *data, size_t size) {
    REAL(ssize_t, write, int, const void *, size_t);
    if (!is_traced(fd)) return real_write(fd, data, size);
    struct iovec part = {(void *)data, size};
    return write_at(fd, &part, 1, 0, 0);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off_t offset) {
    struct iovec part = {(void *)data, size};
    return write_at(fd, &part, 1, offset, 1);
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) { return pwrite64(fd, data, size, offset); }
ssize_t writev(int fd, const struct iovec *parts, int count) { return write_at(fd, parts, count, 0, 0); }
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off_t offset) {
    return write_at(fd, parts, count, offset, 1);
}
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) {
    return write_at(fd, parts, count, offset, 1);
}

int ftruncate64(int fd, off_t size) {
    REAL(int, ftruncate64, int, off_t);
    if (!is_traced(fd)) return real_ftruncate64(fd, size);
    enter();
    int failed = fails(TRUNCATE) ? -1 : real_ftruncate64(fd, size);
    if (!failed) note(TRUNCATE, inode_of(fd), size, NULL, 0);
    leave();
    return failed;
}
int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

static int flush(int fd, int (*real)(int)) {
    if (!is_traced(fd)) return real(fd);
    enter();
    int failed = fails(SYNC) ? -1 : 0;
    note(failed ? FAILED : SYNC, inode_of(fd), 0, NULL, 0);
    leave();
    return failed;
}
int fsync(int fd) {
    REAL(int, fsync, int);
    return flush(fd, real_fsync);
}
int fdatasync(int fd) {
    REAL(int, fdatasync, int);
    return flush(fd, real_fdatasync);
}

ssize_t sendfile64(int to, int from, off_t *offset, size_t size) {
    REAL(ssize_t, sendfile64, int, int, off_t *, size_t);
    if (!is_traced(to)) return real_sendfile64(to, from, offset, size);
    errno = ENOTSOCK;
    return -1;
}
ssize_t sendfile(int to, int from, off_t *offset, size_t size) { return sendfile64(to, from, offset, size); }
ssize_t copy_file_range(int from, off64_t *a, int to, off64_t *b, size_t size, unsigned flags) {
    REAL(ssize_t, copy_file_range, int, off64_t *, int, off64_t *, size_t, unsigned);
    if (!is_traced(to)) return real_copy_file_range(from, a, to, b, size, flags);
    errno = ENOSYS;
    return -1;
}

/* ---- names ---- */

static int open_any(int dir, const char *path, int flags, mode_t mode) {
    REAL(int, openat64, int, const char *, int, ...);
    struct place place;
    if (!(flags & (O_CREAT | O_TRUNC)) || (flags & O_TMPFILE) == O_TMPFILE || !is_place(dir, path, &place))
        return real_openat64(dir, path, flags, mode);
    enter();
    int is_new = access(place.path, F_OK) != 0;
    errno = 0;
    int fd = is_new && fails(CREATE) ? -1 : real_openat64(dir, path, flags, mode);
    if (fd >= 0 && is_new) {
        char grave[PATH_MAX + 32];
        uint64_t inode = inode_of(fd);
        snprintf(grave, sizeof grave, "%s/%llu", graves, (unsigned long long)inode);
        REAL(int, linkat, int, const char *, int, const char *, int);
        if (real_linkat(AT_FDCWD, place.path, AT_FDCWD, grave, 0)) abort();
        note_text(CREATE, place.parent, inode, place.name);
    } else if (fd >= 0 && flags & O_TRUNC) {
        note(TRUNCATE, inode_of(fd), 0, NULL, 0);
    }
    leave();
    return fd;
}

#define MODE(flags, mode) \
    mode_t mode = 0; \
    if ((flags) & O_CREAT) { \
        va_list rest; \
        va_start(rest, flags); \
        mode = va_arg(rest, mode_t); \
        va_end(rest); \
    }
int open(const char *path, int flags, ...) {
    MODE(flags, mode)
    return open_any(AT_FDCWD, path, flags, mode);
}
int open64(const char *path, int flags, ...) {
    MODE(flags, mode)
    return open_any(AT_FDCWD, path, flags, mode);
}
int openat(int dir, const char *path, int flags, ...) {
    MODE(flags, mode)
    return open_any(dir, path, flags, mode);
}
int openat64(int dir, const char *path, int flags, ...) {
    MODE(flags, mode)
    return open_any(dir, path, flags, mode);
}

int mkdirat(int dir, const char *path, mode_t mode) {
    REAL(int, mkdirat, int, const char *, mode_t);
    struct place place;
    struct stat made;
    if (!is_place(dir, path, &place)) return real_mkdirat(dir, path, mode);
    enter();
    int failed = fails(MKDIR) ? -1 : real_mkdirat(dir, path, mode);
    if (!failed && !stat(place.path, &made)) note_text(MKDIR, place.parent, made.st_ino, place.name);
    leave();
    return failed;
}
int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

int renameat(int from, const char *old, int to, const char *new) {
    REAL(int, renameat, int, const char *, int, const char *);
    struct place source, target;
    if (!is_place(from, old, &source) || !is_place(to, new, &target)) return real_renameat(from, old, to, new);
    enter();
    int failed = fails(RENAME) ? -1 : real_renameat(from, old, to, new);
    if (!failed) {
        struct iovec parts[] = {{source.name, strlen(source.name)}, {"/", 1}, {target.name, strlen(target.name)}};
        note(RENAME, source.parent, target.parent, parts, 3);
    }
    leave();
    return failed;
}
int rename(const char *old, const char *new) { return renameat(AT_FDCWD, old, AT_FDCWD, new); }

int linkat(int from, const char *old, int to, const char *new, int flags) {
    REAL(int, linkat, int, const char *, int, const char *, int);
    struct place source, target;
    struct stat linked;
    if (!is_place(from, old, &source) || !is_place(to, new, &target)) return real_linkat(from, old, to, new, flags);
    enter();
    int failed = fails(LINK) ? -1 : real_linkat(from, old, to, new, flags);
    if (!failed && !stat(target.path, &linked)) note_text(LINK, target.parent, linked.st_ino, target.name);
    leave();
    return failed;
}
int link(const char *old, const char *new) { return linkat(AT_FDCWD, old, AT_FDCWD, new, 0); }

int unlinkat(int dir, const char *path, int flags) {
    REAL(int, unlinkat, int, const char *, int);
    struct place place;
    if (!is_place(dir, path, &place)) return real_unlinkat(dir, path, flags);
    enter();
    int failed = fails(UNLINK) ? -1 : real_unlinkat(dir, path, flags);
    if (!failed) note_text(UNLINK, place.parent, 0, place.name);
    leave();
    return failed;
}
int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }
int remove(const char *path) {
    struct stat found;
    return !lstat(path, &found) && S_ISDIR(found.st_mode) ? rmdir(path) : unlink(path);
}
