/* Loaded before the C library, this lets the wall clock of a program be set, and no other: by so many
 * seconds as the file says that CLOCK_SETTING names, or with "broken" in it so that asking fails. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now) {
    char text[32] = "";
    const char *name = getenv("CLOCK_SETTING");
    int result = syscall(SYS_clock_gettime, clock, now);
    int file = clock == CLOCK_REALTIME && name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
    if (file >= 0) {
        if (read(file, text, sizeof text - 1) > 0)
            now->tv_sec += atol(text);
        close(file);
    }
    if (text[0] == 'b') {
        errno = EINVAL;
        return -1;
    }
    return result;
}
