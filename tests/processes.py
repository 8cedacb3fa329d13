"""Tests in processes of their own."""

import os
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
