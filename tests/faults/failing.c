/* Makes the k-th operation on files below a folder fail, or all writes after a number of bytes. Loaded by LD_PRELOAD; armed
   by fault_arm() from the process itself. Not here: what is written (writers.py). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static char below[PATH_MAX] = "";
static long fail_at = 0, seen = 0, budget = -1;
static int error_code = EIO, sticky = 0;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* at: number of the operation that fails (0 = none); stick: all later ones fail, too; bytes: writes fail once so many bytes
   went through (-1 = no limit) */
void fault_arm(const char *folder, long at, int code, int stick, long bytes) {
  pthread_mutex_lock(&lock);
  strncpy(below, folder, sizeof below - 1);
  fail_at = at; error_code = code; sticky = stick; budget = bytes; seen = 0;
  pthread_mutex_unlock(&lock);
}

long fault_seen(void) { return seen; }

static int inside(const char *path) { return below[0] && path && strncmp(path, below, strlen(below)) == 0; }

static int inside_fd(int fd) {
  char link[64], path[PATH_MAX];
  if (!below[0]) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length <= 0) return 0;
  path[length] = 0;
  return inside(path);
}

static int fails(void) {
  pthread_mutex_lock(&lock);
  long now = ++seen;
  int yes = fail_at && (sticky ? now >= fail_at : now == fail_at);
  pthread_mutex_unlock(&lock);
  if (yes) errno = error_code;
  return yes;
}

/* How many of `count` bytes may be written; -1 = none, with errno. */
static ssize_t allowed(size_t count) {
  if (budget < 0) return (ssize_t)count;
  pthread_mutex_lock(&lock);
  ssize_t part = (ssize_t)count < budget ? (ssize_t)count : budget;
  budget -= part;
  pthread_mutex_unlock(&lock);
  if (part == 0 && count) { errno = error_code; return -1; }
  return part;
}

#define REAL(type, name, ...) static type (*real)(__VA_ARGS__); if (!real) real = dlsym(RTLD_NEXT, name)

ssize_t write(int fd, const void *data, size_t count) {
  REAL(ssize_t, "write", int, const void *, size_t);
  if (inside_fd(fd)) {
    if (fails()) return -1;
    ssize_t part = allowed(count);
    if (part < 0) return -1;
    count = (size_t)part;
  }
  return real(fd, data, count);
}

ssize_t pwrite64(int fd, const void *data, size_t count, off64_t at) {
  REAL(ssize_t, "pwrite64", int, const void *, size_t, off64_t);
  if (inside_fd(fd)) {
    if (fails()) return -1;
    ssize_t part = allowed(count);
    if (part < 0) return -1;
    count = (size_t)part;
  }
  return real(fd, data, count, at);
}

ssize_t writev(int fd, const struct iovec *parts, int number) {
  REAL(ssize_t, "writev", int, const struct iovec *, int);
  if (inside_fd(fd)) {
    if (fails()) return -1;
    size_t whole = 0;
    for (int n = 0; n < number; n++) whole += parts[n].iov_len;
    if (allowed(whole) < (ssize_t)whole) { errno = error_code; return -1; }
  }
  return real(fd, parts, number);
}

int fsync(int fd) { REAL(int, "fsync", int); if (inside_fd(fd) && fails()) return -1; return real(fd); }
int fdatasync(int fd) { REAL(int, "fdatasync", int); if (inside_fd(fd) && fails()) return -1; return real(fd); }

int rename(const char *from, const char *to) {
  REAL(int, "rename", const char *, const char *);
  if (inside(to) && fails()) return -1;
  return real(from, to);
}

int renameat(int a, const char *from, int b, const char *to) {
  REAL(int, "renameat", int, const char *, int, const char *);
  if (inside(to) && fails()) return -1;
  return real(a, from, b, to);
}

int mkdir(const char *path, mode_t mode) {
  REAL(int, "mkdir", const char *, mode_t);
  if (inside(path) && fails()) return -1;
  return real(path, mode);
}

int symlink(const char *to, const char *path) {
  REAL(int, "symlink", const char *, const char *);
  if (inside(path) && fails()) return -1;
  return real(to, path);
}

int chmod(const char *path, mode_t mode) {
  REAL(int, "chmod", const char *, mode_t);
  if (inside(path) && fails()) return -1;
  return real(path, mode);
}

#define OPEN(name, symbol)                                         \
  int name(const char *path, int flags, ...) {                     \
    REAL(int, symbol, const char *, int, ...);                     \
    mode_t mode = 0;                                               \
    if (flags & O_CREAT) {                                         \
      va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); \
      if (inside(path) && fails()) return -1;                      \
    }                                                              \
    return real(path, flags, mode);                                \
  }
OPEN(open, "open")
OPEN(open64, "open64")
