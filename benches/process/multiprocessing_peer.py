"""Python's side of the comparison: reads "NAME COUNT", answers with the seconds that one repetition takes.

Plain CPython multiprocessing, with what a user of it writes. Processes start by fork, which is the fastest way there is.
"""

import multiprocessing as mp
import platform
import sys
import time

MIB = 1 << 20
# A child that fails leaves its parent waiting.
LONG = 120


def now():
    return time.clock_gettime(time.CLOCK_REALTIME)


# Queues


def produce_small(queue, barrier, count):
    barrier.wait()
    for number in range(count):
        queue.put(number)


def produce_large(queue, barrier, count):
    item = b"\7" * MIB
    barrier.wait()
    for _ in range(count):
        queue.put(item)


def consume(queue, barrier, count, times):
    barrier.wait()
    queue.get()
    first = now()
    for _ in range(count - 1):
        queue.get()
    times.put((first, now()))


def queue_run(queue, sides, count, producer):
    share = max(count // sides, 2)
    barrier = mp.Barrier(2 * sides)
    times = mp.Queue()
    processes = [mp.Process(target=producer, args=(queue, barrier, share)) for _ in range(sides)]
    processes += [mp.Process(target=consume, args=(queue, barrier, share, times)) for _ in range(sides)]
    for process in processes:
        process.start()
    got = [times.get(timeout=LONG) for _ in range(sides)]
    for process in processes:
        process.join()
    first, last = min(time for time, _ in got), max(time for _, time in got)
    return (last - first) / (share * sides - 1)


def queue_1_1(count):
    return queue_run(mp.Queue(), 1, count, produce_small)


def queue_4_4(count):
    return queue_run(mp.Queue(), 4, count, produce_small)


def queue_mib(count):
    return queue_run(mp.Queue(), 1, count, produce_large)


def queue_mib_4(count):
    return queue_run(mp.Queue(4), 1, count, produce_large)


# Pipes, locks, and what else processes agree with


def echo(end, count):
    for _ in range(count):
        end.send(end.recv())


def round_trip(count):
    ours, theirs = mp.Pipe()
    process = mp.Process(target=echo, args=(theirs, count + 1))
    process.start()
    ours.send(0)
    ours.recv()
    start = time.perf_counter()
    for number in range(count):
        ours.send(number)
        ours.recv()
    taken = (time.perf_counter() - start) / count
    process.join()
    return taken


def timed(work, arguments, count):
    """Starts processes, and gives the time of the slowest for each of `count` repetitions."""
    barrier = mp.Barrier(len(arguments))
    times = mp.Queue()

    def run(*args):
        barrier.wait()
        start = time.perf_counter()
        work(*args)
        times.put(time.perf_counter() - start)

    processes = [mp.Process(target=run, args=args) for args in arguments]
    for process in processes:
        process.start()
    slowest = max(times.get(timeout=LONG) for _ in processes)
    for process in processes:
        process.join()
    return slowest / count


def increments(value, count):
    for _ in range(count):
        with value.get_lock():
            value.value += 1


def increment(count):
    value = mp.Value("Q", 0)
    share = max(count // 2, 1)
    taken = timed(increments, [(value, share)] * 2, 2 * share)
    assert value.value == 2 * share
    return taken


def strokes(changed, turn, me, count):
    with changed:
        for _ in range(count):
            changed.wait_for(lambda: turn.value == me)
            turn.value = 1 - me
            changed.notify()


def condition(count):
    changed, turn = mp.Condition(), mp.Value("Q", 0, lock=False)
    return timed(strokes, [(changed, turn, me, count) for me in range(2)], count)


def events(mine, other, count):
    for _ in range(count):
        mine.wait()
        mine.clear()
        other.set()


def event(count):
    a, b = mp.Event(), mp.Event()
    a.set()
    return timed(events, [(a, b, count), (b, a, count)], count)


def permits(mine, other, count):
    for _ in range(count):
        mine.acquire()
        other.release()


def semaphore(count):
    a, b = mp.Semaphore(1), mp.Semaphore(0)
    return timed(permits, [(a, b, count), (b, a, count)], count)


def passes(barrier, count):
    for _ in range(count):
        barrier.wait()


def barrier(count):
    return timed(passes, [(mp.Barrier(4), count)] * 4, count)


# Pools, and managed lists and maps


def same(number):
    return number


def pool_map(count, chunk):
    with mp.Pool(2) as pool:
        pool.map(same, range(4))
        start = time.perf_counter()
        pool.map(same, range(count), chunksize=chunk)
        return (time.perf_counter() - start) / count


def pool_chunk_1(count):
    return pool_map(count, 1)


def pool_automatic(count):
    return pool_map(count, None)


def managed(make, work, count):
    def run(shared, times):
        start = time.perf_counter()
        work(shared, count)
        times.put(time.perf_counter() - start)

    with mp.Manager() as manager:
        times = mp.Queue()
        # The manager drops what nobody here refers to.
        shared = make(manager)
        process = mp.Process(target=run, args=(shared, times))
        process.start()
        taken = times.get(timeout=LONG)
        process.join()
    return taken / count


def appends(shared, count):
    for number in range(count):
        shared.append(number)


def append(count):
    return managed(lambda manager: manager.list(), appends, count)


def updates(shared, count):
    # Not atomic, as nothing is that a manager's dict offers for it.
    for number in range(count):
        shared[number % 100] += 1


def update(count):
    return managed(lambda manager: manager.dict({key: 0 for key in range(100)}), updates, count)


# Processes


def nothing():
    pass


def start_join(count):
    start = time.perf_counter()
    for _ in range(count):
        process = mp.Process(target=nothing)
        process.start()
        process.join()
    return (time.perf_counter() - start) / count


def pi_part(results, first, steps):
    width = 1.0 / steps
    total = 0.0
    for step in range(first, steps, 2):
        x = (step + 0.5) * width
        total += 4.0 / (1.0 + x * x)
    results.put(total * width)


def pi(steps):
    start = time.perf_counter()
    results = mp.Queue()
    processes = [mp.Process(target=pi_part, args=(results, first, steps)) for first in range(2)]
    for process in processes:
        process.start()
    result = results.get() + results.get()
    for process in processes:
        process.join()
    assert abs(result - 3.141592653589793) < 1e-3
    return time.perf_counter() - start


MEASUREMENTS = {
    function.__name__: function
    for function in (
        queue_1_1,
        queue_4_4,
        queue_mib,
        queue_mib_4,
        round_trip,
        increment,
        condition,
        event,
        semaphore,
        barrier,
        pool_chunk_1,
        pool_automatic,
        append,
        update,
        start_join,
        pi,
    )
}


def main():
    mp.set_start_method("fork")
    print(f"{platform.python_implementation()} {platform.python_version()}", flush=True)
    for line in sys.stdin:
        name, count = line.split()
        print(MEASUREMENTS[name](int(count)), flush=True)


if __name__ == "__main__":
    main()
