"""chimpd's queues as its users drive them: by SQL, and by nothing else."""

import time

from cluster import BenchError

BATCH = 10_000


def fill(session, queue, jobs, payload="{}", batch=BATCH):
    """Enqueue equal jobs, `batch` per transaction."""
    for left in range(jobs, 0, -batch):
        session.run("select count(*) from chimp.enqueue_many(%s, "
                    "array_fill(%s::jsonb, array[%s]))",
                    queue, payload, min(left, batch))


def last_id(session):
    return session.value("select coalesce(max(id), 0) from chimp.jobs")


def wait(session, queue, seconds=600):
    """Until nothing of the queue is ready or runs."""
    end = time.monotonic() + seconds
    while session.value("select ready + running from chimp.queues "
                        "where name = %s", queue):
        if time.monotonic() > end:
            raise BenchError(f"{queue} is not drained after {seconds} s")
        time.sleep(0.25)


def resume(session, queue):
    """The instant from which the workers may claim, by the database's clock."""
    began = session.value("select clock_timestamp()")
    session.run("select chimp.resume(%s)", queue)
    return began


def seconds_since(session, queue, began, after_id, jobs):
    """To the end of the last of the jobs after that id; all must be done."""
    done, seconds = session.rows(
        "select count(*), extract(epoch from max(ended_at) - %s)::float8 "
        "from chimp.jobs where id > %s and queue = %s and state = 'done'",
        began, after_id, queue)[0]
    if done != jobs:
        raise BenchError(f"{done} of {jobs} jobs of {queue} are done")
    return seconds
