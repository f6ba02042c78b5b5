/* Shifts the wall clock of a process by the seconds (64 bits) that stand in the file of SHIFT_CLOCK_FILE, read anew
 * each time. For fault tests, by LD_PRELOAD; clocks that only measure how long things take are left alone. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static int64_t offset(void)
{
    static volatile int64_t *shared;
    if (shared == NULL) {
        const char *path = getenv("SHIFT_CLOCK_FILE");
        int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
        if (file < 0)
            return 0;
        void *mapped = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
        close(file);
        if (mapped == MAP_FAILED)
            return 0;
        shared = mapped;
    }
    return *shared;
}

int clock_gettime(clockid_t clock, struct timespec *moment)
{
    static int (*real)(clockid_t, struct timespec *);
    if (real == NULL)
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(clock, moment);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        moment->tv_sec += offset();
    return failed;
}

time_t time(time_t *where)
{
    struct timespec moment;
    clock_gettime(CLOCK_REALTIME, &moment);
    if (where)
        *where = moment.tv_sec;
    return moment.tv_sec;
}

int gettimeofday(struct timeval *restrict moment, void *restrict zone)
{
    struct timespec precise;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &precise);
    moment->tv_sec = precise.tv_sec;
    moment->tv_usec = precise.tv_nsec / 1000;
    return 0;
}
