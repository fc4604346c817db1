#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <string>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

// Says what came of a forbidden call: it must fail with one of two errors.
static void forbidden(const char* what, long result, int error = EPERM) {
    if (result == -1 && (errno == error || errno == ENOSYS)) std::printf("held %s: %m\n", what);
    else std::printf("ESCAPED %s: %ld, %m\n", what, result);
    std::fflush(stdout);
}

// Whether a process that does this is ended by the system-call filter.
template <typename Action> static void fatal(const char* what, Action action) {
    pid_t child = fork();
    if (child == 0) { action(); _exit(0); }
    int status = 0;
    waitpid(child, &status, 0);
    bool held = WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
    std::printf("%s %s: status %d\n", held ? "held" : "ESCAPED", what, status);
    std::fflush(stdout);
}

