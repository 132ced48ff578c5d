/* Counts the file-system calls of one process below one folder; at call N it kills the process, cuts the power of the disk, or fails.
 *
 * Loaded by LD_PRELOAD and armed by failpoint_arm(), so that a process which has loaded everything can fork and arm a child. A process
 * that the child forks shares the counter; a program that it starts does not load this library and is not counted. The clock stands still,
 * and at a fault randomness is the same each time, so that two faults that leave the same leave the same bytes. tests/faults/calls.py is
 * the other side: it has the numbers of the classes and actions too.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { CHANGE = 1, SPACE = 2, NAME = 4, READ = 8, LOOK = 16, LOCK = 32, START = 64 }; /* a call may be of several classes */
enum { COUNT = 0, KILL = 1, FAIL = 2, FAIL_FROM = 3, SHORT = 4, POWER = 5 };
#define SHUTDOWN_WITHOUT_FLUSH 2
#define TORN (-2)
#define EXT4_SHUTDOWN _IOR('X', 125, unsigned)

static int armed, action, classes, number, log_fd = -1, disk = -1;
static long at, now_s;
static pid_t main_pid;
static char root[PATH_MAX];
static size_t root_length;
static atomic_long *count, *drawn;

void failpoint_arm(const char *folder, int what, int which, long when, int error, int log, long clock_s) {
  snprintf(root, sizeof root, "%s/", folder);
  root_length = strlen(root);
  action = what, classes = which, at = when, number = error, log_fd = log, now_s = clock_s;
  count = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  drawn = count + 1;
  main_pid = getpid();
  if (action == POWER) disk = syscall(SYS_openat, AT_FDCWD, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  armed = 1;
}

long failpoint_count(void) { return armed ? atomic_load(count) : 0; }

static void die(void) {
  unsigned how = SHUTDOWN_WITHOUT_FLUSH;
  if (action == POWER) syscall(SYS_ioctl, disk, EXT4_SHUTDOWN, &how);
  syscall(SYS_kill, main_pid, SIGKILL);
  syscall(SYS_kill, getpid(), SIGKILL);
  for (;;) pause();
}

/* Returns 0 to go on, an error number to fail with, or -1 to do half of it. A process that is killed may do half of a write first. */
static int reached(int class, const char *name, const char *path) {
  if (!armed || !(class & classes) || strncmp(path, root, root_length)) return 0;
  long n = atomic_fetch_add(count, 1) + 1;
  if (log_fd >= 0) {
    char line[PATH_MAX + 64];
    int length = snprintf(line, sizeof line, "%ld\t%s\t%s\n", n, name, path + root_length);
    syscall(SYS_write, log_fd, line, length < (int)sizeof line ? length : (int)sizeof line - 1);
  }
  if (action == SHORT) return -1;
  if (action == FAIL_FROM ? at && n >= at : n == at) {
    if (action == KILL && number && !strcmp(name + (*name == 'p'), "write")) return TORN;
    if (action == KILL || action == POWER) die();
    if (action == FAIL || action == FAIL_FROM) return number;
  }
  return 0;
}

static const char *of_fd(int fd, char *path) {
  char link[32];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, path, PATH_MAX - 1);
  path[length < 0 ? 0 : length] = 0;
  return path;
}

static const char *of_name(int folder, const char *name, char *path) {
  char above[PATH_MAX];
  if (!name || !*name) return of_fd(folder, path);
  if (*name == '/') {
    snprintf(path, PATH_MAX, "%s", name);
    return path;
  }
  if (folder != AT_FDCWD) of_fd(folder, above);
  else if (syscall(SYS_getcwd, above, sizeof above) < 0) *above = 0;
  if (snprintf(path, PATH_MAX, "%s/%s", above, name) >= PATH_MAX) *path = 0;
  return path;
}

static int at_fd(int class, const char *name, int fd) {
  char path[PATH_MAX];
  return armed && (class & classes) ? reached(class, name, of_fd(fd, path)) : 0;
}

static int at_name(int class, const char *call, int folder, const char *name) {
  char path[PATH_MAX];
  return armed && (class & classes) ? reached(class, call, of_name(folder, name, path)) : 0;
}

#define REAL(name) static __typeof__(&name) real; if (!real) real = dlsym(RTLD_NEXT, #name)
#define FAIL_IF(hit) do { int hit_ = (hit); if (hit_ > 0) { errno = hit_; return -1; } } while (0)
#define HALF_IF(hit, size) do { int hit_ = (hit); if (hit_ > 0) { errno = hit_; return -1; } if (hit_ < 0 && (size) > 1) size = (size) / 2; } while (0)

/* --- opening --- */

static int opening(int flags) {
  if (flags & O_CREAT) return CHANGE | SPACE | NAME;
  return flags & O_TRUNC ? CHANGE | NAME : (flags & O_ACCMODE) != O_RDONLY ? NAME : READ | NAME;
}
#define MODE mode_t mode = 0; if (flags & (O_CREAT | O_TMPFILE)) { va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); }
#define OPEN(name) int name(const char *path, int flags, ...) { REAL(name); MODE FAIL_IF(at_name(opening(flags), "open", AT_FDCWD, path)); return real(path, flags, mode); }
#define OPEN_AT(name) int name(int folder, const char *path, int flags, ...) { REAL(name); MODE FAIL_IF(at_name(opening(flags), "open", folder, path)); return real(folder, path, flags, mode); }
OPEN(open) OPEN(open64) OPEN_AT(openat) OPEN_AT(openat64)

/* --- bytes --- */

ssize_t read(int fd, void *data, size_t size) { REAL(read); HALF_IF(at_fd(READ, "read", fd), size); return real(fd, data, size); }
#define PREAD(name, offset_t) ssize_t name(int fd, void *data, size_t size, offset_t offset) { REAL(name); HALF_IF(at_fd(READ, "pread", fd), size); return real(fd, data, size, offset); }
PREAD(pread, off_t) PREAD(pread64, off64_t)
#define WRITE_HALF(hit, half) do { int hit_ = (hit); if (hit_ > 0) { errno = hit_; return -1; } if (hit_ == TORN) { half; die(); } if (hit_ < 0 && size > 1) size /= 2; } while (0)
#define VECTORS(name, call, class, offset_t) ssize_t name(int fd, const struct iovec *parts, int length, offset_t offset) { REAL(name); HALF_IF(at_fd(class, call, fd), length); return real(fd, parts, length, offset); }
VECTORS(preadv, "pread", READ, off_t) VECTORS(preadv64, "pread", READ, off64_t) VECTORS(pwritev, "pwritev", CHANGE | SPACE, off_t) VECTORS(pwritev64, "pwritev", CHANGE | SPACE, off64_t)
ssize_t readv(int fd, const struct iovec *parts, int length) { REAL(readv); HALF_IF(at_fd(READ, "read", fd), length); return real(fd, parts, length); }
ssize_t writev(int fd, const struct iovec *parts, int length) { REAL(writev); HALF_IF(at_fd(CHANGE | SPACE, "writev", fd), length); return real(fd, parts, length); }
ssize_t write(int fd, const void *data, size_t size) { REAL(write); WRITE_HALF(at_fd(CHANGE | SPACE, "write", fd), real(fd, data, size / 2)); return real(fd, data, size); }
#define PWRITE(name, offset_t) ssize_t name(int fd, const void *data, size_t size, offset_t offset) { REAL(name); WRITE_HALF(at_fd(CHANGE | SPACE, "pwrite", fd), real(fd, data, size / 2, offset)); return real(fd, data, size, offset); }
PWRITE(pwrite, off_t) PWRITE(pwrite64, off64_t)
#define MMAP(name, offset_t) void *name(void *place, size_t size, int protection, int flags, int fd, offset_t offset) { REAL(name); int hit = fd < 0 ? 0 : at_fd(READ, "mmap", fd); if (hit > 0) { errno = hit; return MAP_FAILED; } return real(place, size, protection, flags, fd, offset); }
MMAP(mmap, off_t) MMAP(mmap64, off64_t)
ssize_t copy_file_range(int from, off64_t *in, int to, off64_t *out, size_t size, unsigned flags) { REAL(copy_file_range); HALF_IF(at_fd(CHANGE | SPACE | READ, "copy_file_range", to), size); return real(from, in, to, out, size, flags); }
ssize_t sendfile(int to, int from, off_t *offset, size_t size) { REAL(sendfile); HALF_IF(at_fd(CHANGE | SPACE | READ, "sendfile", to), size); return real(to, from, offset, size); }
ssize_t sendfile64(int to, int from, off64_t *offset, size_t size) { REAL(sendfile64); HALF_IF(at_fd(CHANGE | SPACE | READ, "sendfile", to), size); return real(to, from, offset, size); }
#define TRUNCATE(name, offset_t) int name(int fd, offset_t size) { REAL(name); FAIL_IF(at_fd(CHANGE, "ftruncate", fd)); return real(fd, size); }
TRUNCATE(ftruncate, off_t) TRUNCATE(ftruncate64, off64_t)
#define TRUNCATE_NAME(name, offset_t) int name(const char *path, offset_t size) { REAL(name); FAIL_IF(at_name(CHANGE, "truncate", AT_FDCWD, path)); return real(path, size); }
TRUNCATE_NAME(truncate, off_t) TRUNCATE_NAME(truncate64, off64_t)
#define FALLOCATE(name, offset_t) int name(int fd, int mode, offset_t offset, offset_t size) { REAL(name); FAIL_IF(at_fd(CHANGE | SPACE, "fallocate", fd)); return real(fd, mode, offset, size); }
FALLOCATE(fallocate, off_t) FALLOCATE(fallocate64, off64_t)
#define POSIX_FALLOCATE(name, offset_t) int name(int fd, offset_t offset, offset_t size) { REAL(name); int hit = at_fd(CHANGE | SPACE, "fallocate", fd); return hit > 0 ? hit : real(fd, offset, size); }
POSIX_FALLOCATE(posix_fallocate, off_t) POSIX_FALLOCATE(posix_fallocate64, off64_t)
int fsync(int fd) { REAL(fsync); FAIL_IF(at_fd(CHANGE, "fsync", fd)); return real(fd); }
int fdatasync(int fd) { REAL(fdatasync); FAIL_IF(at_fd(CHANGE, "fdatasync", fd)); return real(fd); }

/* --- names --- */

static int two(const char *call, int one, const char *from, int other, const char *to) {
  char path[PATH_MAX];
  if (!armed || !((CHANGE | NAME | SPACE) & classes)) return 0;
  of_name(other, to, path);
  return reached(CHANGE | NAME | SPACE, call, strncmp(path, root, root_length) ? of_name(one, from, path) : path);
}
int rename(const char *from, const char *to) { REAL(rename); FAIL_IF(two("rename", AT_FDCWD, from, AT_FDCWD, to)); return real(from, to); }
int renameat(int one, const char *from, int other, const char *to) { REAL(renameat); FAIL_IF(two("rename", one, from, other, to)); return real(one, from, other, to); }
int renameat2(int one, const char *from, int other, const char *to, unsigned flags) { REAL(renameat2); FAIL_IF(two("rename", one, from, other, to)); return real(one, from, other, to, flags); }
int link(const char *from, const char *to) { REAL(link); FAIL_IF(two("link", AT_FDCWD, from, AT_FDCWD, to)); return real(from, to); }
int linkat(int one, const char *from, int other, const char *to, int flags) { REAL(linkat); FAIL_IF(two("link", one, from, other, to)); return real(one, from, other, to, flags); }
int symlink(const char *target, const char *path) { REAL(symlink); FAIL_IF(at_name(CHANGE | NAME | SPACE, "symlink", AT_FDCWD, path)); return real(target, path); }
int symlinkat(const char *target, int folder, const char *path) { REAL(symlinkat); FAIL_IF(at_name(CHANGE | NAME | SPACE, "symlink", folder, path)); return real(target, folder, path); }
int unlink(const char *path) { REAL(unlink); FAIL_IF(at_name(CHANGE | NAME, "unlink", AT_FDCWD, path)); return real(path); }
int unlinkat(int folder, const char *path, int flags) { REAL(unlinkat); FAIL_IF(at_name(CHANGE | NAME, flags & AT_REMOVEDIR ? "rmdir" : "unlink", folder, path)); return real(folder, path, flags); }
int rmdir(const char *path) { REAL(rmdir); FAIL_IF(at_name(CHANGE | NAME, "rmdir", AT_FDCWD, path)); return real(path); }
int mkdir(const char *path, mode_t mode) { REAL(mkdir); FAIL_IF(at_name(CHANGE | NAME | SPACE, "mkdir", AT_FDCWD, path)); return real(path, mode); }
int mkdirat(int folder, const char *path, mode_t mode) { REAL(mkdirat); FAIL_IF(at_name(CHANGE | NAME | SPACE, "mkdir", folder, path)); return real(folder, path, mode); }
int chmod(const char *path, mode_t mode) { REAL(chmod); FAIL_IF(at_name(CHANGE, "chmod", AT_FDCWD, path)); return real(path, mode); }
int fchmod(int fd, mode_t mode) { REAL(fchmod); FAIL_IF(at_fd(CHANGE, "chmod", fd)); return real(fd, mode); }
int fchmodat(int folder, const char *path, mode_t mode, int flags) { REAL(fchmodat); FAIL_IF(at_name(CHANGE, "chmod", folder, path)); return real(folder, path, mode, flags); }
int utimensat(int folder, const char *path, const struct timespec times[2], int flags) { REAL(utimensat); FAIL_IF(at_name(CHANGE, "utimens", folder, path)); return real(folder, path, times, flags); }
int futimens(int fd, const struct timespec times[2]) { REAL(futimens); FAIL_IF(at_fd(CHANGE, "utimens", fd)); return real(fd, times); }

/* --- looking --- */

#define STAT(name, type) int name(const char *restrict path, struct type *restrict status) { REAL(name); FAIL_IF(at_name(LOOK, "stat", AT_FDCWD, path)); return real(path, status); }
STAT(stat, stat) STAT(stat64, stat64) STAT(lstat, stat) STAT(lstat64, stat64)
#define STAT_FD(name, type) int name(int fd, struct type *status) { REAL(name); FAIL_IF(at_fd(LOOK, "stat", fd)); return real(fd, status); }
STAT_FD(fstat, stat) STAT_FD(fstat64, stat64)
#define STAT_AT(name, type) int name(int folder, const char *restrict path, struct type *restrict status, int flags) { REAL(name); FAIL_IF(at_name(LOOK, "stat", folder, path)); return real(folder, path, status, flags); }
STAT_AT(fstatat, stat) STAT_AT(fstatat64, stat64)
int access(const char *path, int mode) { REAL(access); FAIL_IF(at_name(LOOK, "access", AT_FDCWD, path)); return real(path, mode); }
ssize_t readlink(const char *restrict path, char *restrict data, size_t size) { REAL(readlink); FAIL_IF(at_name(LOOK, "readlink", AT_FDCWD, path)); return real(path, data, size); }
ssize_t readlinkat(int folder, const char *restrict path, char *restrict data, size_t size) { REAL(readlinkat); FAIL_IF(at_name(LOOK, "readlink", folder, path)); return real(folder, path, data, size); }
DIR *opendir(const char *path) { REAL(opendir); int hit = at_name(READ | NAME, "opendir", AT_FDCWD, path); if (hit > 0) { errno = hit; return 0; } return real(path); }
DIR *fdopendir(int fd) { REAL(fdopendir); int hit = at_fd(READ | NAME, "fdopendir", fd); if (hit > 0) { errno = hit; return 0; } return real(fd); }
#define READDIR(name, type) struct type *name(DIR *folder) { REAL(name); int hit = at_fd(LOOK, "readdir", dirfd(folder)); if (hit > 0) { errno = hit; return 0; } return real(folder); }
READDIR(readdir, dirent) READDIR(readdir64, dirent64)

/* --- locks, leases, shared blocks, programs --- */

int flock(int fd, int operation) { REAL(flock); FAIL_IF(at_fd(LOCK, "flock", fd)); return real(fd, operation); }
#define FCNTL(name) int name(int fd, int command, ...) { REAL(name); va_list rest; va_start(rest, command); void *value = va_arg(rest, void *); va_end(rest); \
  FAIL_IF(command == F_SETLEASE || command == F_SETLK || command == F_SETLKW ? at_fd(LOCK, "fcntl", fd) : 0); return real(fd, command, value); }
FCNTL(fcntl) FCNTL(fcntl64)
int ioctl(int fd, unsigned long request, ...) { REAL(ioctl); va_list rest; va_start(rest, request); void *value = va_arg(rest, void *); va_end(rest); FAIL_IF(request == FICLONE ? at_fd(CHANGE | SPACE, "ficlone", fd) : 0); return real(fd, request, value); }
int execve(const char *path, char *const *arguments, char *const *environment) { REAL(execve); FAIL_IF(armed && (START & classes) ? reached(START, "execve", root) : 0); return real(path, arguments, environment); }

/* --- the clock and randomness --- */

int clock_gettime(clockid_t clock, struct timespec *time) {
  REAL(clock_gettime);
  if (!armed || clock != CLOCK_REALTIME) return real(clock, time);
  *time = (struct timespec){.tv_sec = now_s};
  return 0;
}

ssize_t getrandom(void *data, size_t size, unsigned flags) {
  REAL(getrandom);
  if (!armed || action == COUNT) return real(data, size, flags);
  for (size_t i = 0; i < size; i++) { /* splitmix64 */
    uint64_t x = ((uint64_t)atomic_fetch_add(drawn, 1) + 1) * 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    ((unsigned char *)data)[i] = x >> 56;
  }
  return size;
}
