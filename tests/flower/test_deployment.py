"""The same apps behind Flower's SuperLink and SuperNodes, over sockets of this machine."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from textwrap import dedent
from urllib.request import urlopen

import pytest
import yaml

import fedsim
from fedsim import deployment

SCENARIO = {
    "name": "lab",
    "seed": 5,
    "rounds": 2,
    "model": {"name": "mlp", "hidden": [8]},
    "clients": {"total": 4, "per_round": 3, "training": {"lr": 0.1, "batch_size": 32}},
    "server": {"aggregator": {"name": "median"}},
    "adversary": {
        "clients": 1,
        "poison": {"name": "label_flip", "mode": "pair", "source": 1, "target": 7},
        "attack": {"name": "sign_flip"},
    },
    "faults": [{"name": "nan", "rounds": [2], "clients": [0]}],
}
LIMIT = 300.0
"""Seconds that anything may take on a busy machine."""


def documented(marker):
    """The indented block of the module's docstring that has `marker` in it."""
    blocks = re.split(r"\n\n(?=\S)", deployment.__doc__)
    [block] = [text for text in blocks if f"\n    {marker}" in text]
    return dedent("\n".join(line for line in block.splitlines() if line.startswith("    ")))


@contextmanager
def running(command, log, env):
    """The process of `command`, and all that it started, ended with the block."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, stdout=file, stderr=file, env=env, cwd=log.parent, start_new_session=True
        )
    try:
        yield process
    finally:
        for sign, patience in ((signal.SIGTERM, 10), (signal.SIGKILL, 10)):
            try:
                os.killpg(process.pid, sign)
                process.wait(patience)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue


def free_ports(count):
    with ExitStack() as stack:
        taken = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in taken:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in taken]


def wait_for(condition, what):
    late = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < late, f"{what} did not come within {LIMIT:g} s"
        time.sleep(0.3)


def healthy(port):
    try:
        with urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def tool(name):
    return str(Path(sys.executable).with_name(name))


@pytest.mark.slow
def test_supernodes_give_the_bits_of_one_process(tmp_path):
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "pyproject.toml").write_text(documented("[project]"))
    (tmp_path / "lab.yaml").write_text(yaml.safe_dump(SCENARIO))
    here = fedsim.run(tmp_path / "lab.yaml", output=tmp_path / "here")
    port, *nodes = free_ports(3)
    home = tmp_path / "home"
    home.mkdir()
    (home / "config.toml").write_text(
        f'[superlink.lab]\naddress = "127.0.0.1:{port}"\ninsecure = true\n'
    )
    env = {
        **os.environ,
        "FLWR_HOME": str(home),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    link = [tool("flower-superlink"), "--insecure", "--port", str(port)]
    link += ["--disable-runtime-dependency-installation"]
    config = f'scenario="{tmp_path / "lab.yaml"}" output="{tmp_path / "there"}"'
    order = [tool("flwr"), "run", str(tmp_path / "app"), "lab", "--run-config", config, "--stream"]
    with ExitStack() as stack:
        stack.enter_context(running(link, tmp_path / "link.log", env))
        wait_for(lambda: healthy(port), "the SuperLink")
        for part, own in enumerate(nodes):
            node = [tool("flower-supernode"), "--insecure", "--superlink", f"127.0.0.1:{port}"]
            node += ["--port", str(own), "--node-config", f"partition-id={part} num-partitions=2"]
            stack.enter_context(running(node, tmp_path / f"node{part}.log", env))
        run = stack.enter_context(running(order, tmp_path / "run.log", env))
        wait_for(lambda: run.poll() is not None, "the end of the run")
    summary = tmp_path / "there" / here.path.name / "summary.json"
    assert summary.is_file(), (tmp_path / "run.log").read_text()
    there = fedsim.load(summary.parent)
    assert there.summary["parameters_sha256"] == here.summary["parameters_sha256"]
    assert untimed(there, "clients.jsonl") == untimed(here, "clients.jsonl")
    assert untimed(there, "rounds.jsonl") == untimed(here, "rounds.jsonl")


def untimed(run, name):
    lines = map(json.loads, (run.path / name).read_text().splitlines())
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]
