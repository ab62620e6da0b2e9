"""A Ray cluster for the tests, in a process of its own: a head that does not compute, two workers.

    python ray_cluster.py    # prints its address

Each line of its stdin kills a worker, the end of it ends the cluster.

Apart, because a process that Ray takes for lost is ended by it without a word, and that should not
be the one that runs the tests.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1",
}
STORE = 100_000_000  # bytes of shared memory for each node
# a dead node is noticed after two seconds, not fifteen
HEALTH = {
    "health_check_initial_delay_ms": 1_000,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 2_000,
    "health_check_failure_threshold": 4,
}


@dataclass(frozen=True)
class RayCluster:
    address: str
    kill_a_worker: Callable[[], None]


@contextlib.contextmanager
def ray_cluster() -> Iterator[RayCluster]:
    """A cluster while the context lasts."""
    with subprocess.Popen(
        [sys.executable, __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | ENVIRONMENT,
    ) as process:
        assert process.stdin
        assert process.stdout
        stdin, stdout = process.stdin, process.stdout

        def kill_a_worker() -> None:
            stdin.write("kill\n")
            stdin.flush()
            assert stdout.readline().strip() == "killed"

        try:
            address = stdout.readline().strip()
            assert address, "no Ray cluster; what it said is on stderr"
            yield RayCluster(address, kill_a_worker)
        finally:
            stdin.close()
            try:
                process.wait(60)
            finally:
                process.kill()


def main() -> None:
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": 0,
            "object_store_memory": STORE,
            "include_dashboard": False,
            "_system_config": HEALTH,
        },
    )
    for _ in range(2):
        cluster.add_node(num_cpus=1, object_store_memory=STORE)
    cluster.wait_for_nodes()
    print(cluster.address, flush=True)
    workers = list(cluster.worker_nodes)
    for _ in sys.stdin:
        raylet = workers.pop().all_processes["raylet"][0]
        os.kill(raylet.process.pid, signal.SIGKILL)  # its actors die too
        print("killed", flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    main()
