"""A sweep on a Ray cluster: the numbers of one process; a lost task is a failed cell."""

import gc
import socket
from pathlib import Path

import pytest

from fedsim.api import execute
from fedsim.cells import Where
from fedsim.errors import InputError
from tests.execution.sweeps import results, write_sweep

ray = pytest.importorskip("ray")


@pytest.fixture(autouse=True)
def work(tmp_path, monkeypatch):
    monkeypatch.setenv("FEDSIM_DATA", ".")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fedsim.api.report", lambda *_: None)  # it would take most of the time


@pytest.fixture
def cluster():
    """Ray on this machine, with two CPUs, for nobody else."""
    ray.init(
        address="local", num_cpus=2, include_dashboard=False, log_to_driver=False,
        logging_level="error", _node_ip_address="127.0.0.1",
    )  # fmt: skip
    try:
        yield
    finally:
        ray.shutdown()
        gc.collect()


@pytest.mark.ray
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_ray_gives_the_sweep_of_one_process_and_a_lost_task_is_retried(tmp_path, cluster):
    source = write_sweep(tmp_path).relative_to(tmp_path)
    execute(source, output=tmp_path / "turn")
    (tmp_path / "break1").write_text("die")
    first = execute(source, output=Path("ray"), where=Where(ray="auto"))
    [(labels, reason)] = first.failures
    assert labels == {"server.aggregator": "moody(mood=1)"}
    assert reason.startswith("Ray has lost it (WorkerCrashedError")
    assert reason.endswith("Go on with: --resume")
    (tmp_path / "break1").unlink()
    kept = (first.runs[0].path / "summary.json").stat()
    again = execute(source, output=Path("ray"), where=Where(ray="auto"), resume=True)
    assert not again.failures
    assert results("ray") == results("turn")
    assert (first.runs[0].path / "summary.json").stat() == kept
    assert ray.is_initialized()  # who started it stops it


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_cluster_is_joined_by_its_address_and_left(tmp_path, monkeypatch):
    from ray.cluster_utils import Cluster

    monkeypatch.setattr("ray._private.ray_constants.ENABLE_RAY_CLUSTER", False)  # 127.0.0.1 only
    head = {"num_cpus": 1, "include_dashboard": False, "node_ip_address": "127.0.0.1"}
    nodes = Cluster(initialize_head=True, head_node_args=head)
    try:
        done = execute(write_sweep(tmp_path), output=Path("ray"), where=Where(ray=nodes.address))
        assert not done.failures
        assert not ray.is_initialized()
    finally:
        nodes.shutdown()
        gc.collect()
    execute(tmp_path / "s.yaml", output=Path("turn"))
    assert results("ray") == results("turn")


@pytest.fixture
def silent():
    """The address of a port where something listens that says nothing."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize(
    "address", ["auto", "local", "nowhere", "127.0.0.1:1", "ray://127.0.0.1:1"]
)
def test_an_address_that_does_not_answer_is_told_before_anything_is_written(tmp_path, address):
    with pytest.raises(InputError, match=rf"^--ray {address}: .*") as told:
        execute(write_sweep(tmp_path), output=Path("runs"), where=Where(ray=address))
    assert "\n" not in str(told.value)
    assert not (tmp_path / "runs").exists()
    assert not ray.is_initialized()


def test_a_listener_that_is_no_cluster_is_told(tmp_path, silent, monkeypatch):
    monkeypatch.setattr("fedsim.flower.ray_cells.PATIENCE", 0.5)
    with pytest.raises(InputError, match="who answers there is no Ray cluster"):
        execute(write_sweep(tmp_path), output=Path("runs"), where=Where(ray=silent))


def test_engine_ray_within_cells_on_ray_is_refused(tmp_path):
    source = write_sweep(tmp_path, engine={"name": "ray", "device": "cpu"})
    with pytest.raises(InputError, match="--ray auto: plays whole cells on the cluster"):
        execute(source, output=Path("runs"), where=Where(ray="auto"))
