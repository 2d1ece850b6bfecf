/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/ctl/watch.h"

#include "common/base/clock.h"

#include <time.h>
#include <unistd.h>

/* Events come in bursts: what they change is shown twice a second at most. */
enum { EVENTS_MS = 10000, DEAF_MS = 2000, LEAST_MS = 500 };

static const char EVENTS[] =
    "/events?event=job.state,job.finished,source.state,worker.state,alert,reset";

static void pause_ms(int64_t ms)
{
    struct timespec pause = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&pause, NULL);
}

/* Until there is something to look at. */
static void wait_for_news(Client *client)
{
    Err ignored = {0};
    bool news = false;
    bool deaf = false;
    int64_t end_ns = clock_mono_ns() + (int64_t)EVENTS_MS * 1000000;
    pause_ms(LEAST_MS);
    while (!news && !deaf && clock_mono_ns() < end_ns)
        client_hear(client, (end_ns - clock_mono_ns()) / 1000000 + 1, &news, &deaf);
    if (!deaf)
        return;
    pause_ms(DEAF_MS - LEAST_MS);
    if (!client_listen(client, EVENTS, &ignored))
        return; /* the next look will say so */
}

bool watch_run(Ctl *ctl, bool (*run)(Ctl *ctl, Err *err), Err *err)
{
    bool terminal = isatty(STDOUT_FILENO) == 1 && !ctl_wants_json(ctl);
    if (!client_listen(ctl->client, EVENTS, err))
        return false;
    for (bool first = true;; first = false) {
        if (terminal)
            printf("\033[H\033[2J");
        if (!run(ctl, err)) {
            if (first || !err_retry(err->code))
                return false;
            fprintf(stderr, "holdfast: ");
            print_safe(stderr, err->text);
            fprintf(stderr, "\n");
            *err = (Err){0};
        }
        if (fflush(stdout) != 0)
            return err_set(err, ERR_IO, "watch.output", "nobody reads this any more");
        wait_for_news(ctl->client);
    }
}
