"""Tests in processes of their own."""

import json
import os
import socket
import subprocess
import sys


def run_python(code, *arguments, cwd, **environment):
    """Runs `code` in a fresh process; returns what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def run_together(code, *arguments, cwd, backend, seconds=300, **environment):
    """Runs `code` in two processes that know of each other, of the ranks RANK; returns what each prints."""
    ports = free_ports(2)
    addresses = [f"localhost:{port}" for port in ports]
    started = []
    for rank in range(2):
        if backend == "tensorflow":
            task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": rank}}
            together = {"TF_CONFIG": json.dumps(task)}
        else:
            together = {
                "KERAS_DISTRIBUTION_JOB_ADDRESSES": addresses[0],
                "KERAS_DISTRIBUTION_NUM_PROCESSES": "2",
                "KERAS_DISTRIBUTION_PROCESS_ID": str(rank),
            }
        process = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            cwd=cwd,
            env={**os.environ, **environment, **together, "KERAS_BACKEND": backend, "RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
    try:
        printed = [process.communicate(timeout=seconds) for process in started]
    finally:
        for process in started:
            process.kill()
    for process, (_, errors) in zip(started, printed, strict=True):
        assert process.returncode == 0, errors[-3000:]
    return [output for output, _ in printed]


def free_ports(count):
    """Ports that nobody listens at."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for s in sockets:
            s.bind(("localhost", 0))
        return [s.getsockname()[1] for s in sockets]
    finally:
        for s in sockets:
            s.close()
