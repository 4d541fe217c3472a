"""The environment says with what a run was made, and is JSON."""

import json
import platform
import subprocess
import sys

import pytest
import torch

from fedsim.results import environment
from fedsim.results.environment import cpu_model

ENGINE = {
    "name": "ray", "trainer": "auto", "workers": 3, "server_threads": 2, "deterministic": True,
}  # fmt: skip


def test_versions_and_machine(monkeypatch):
    monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")
    found = environment("cpu", ENGINE, {"train": "ab"}, {"/my/rule.py": "cd"})
    assert found["fedsim"] == "0.1.0"
    assert found["python"] == platform.python_version()
    assert found["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert all(found[name] for name in ("torchvision", "flwr", "numpy", "scipy", "scikit-learn"))
    chosen = ("threads", "device", "engine", "workers", "trainer", "deterministic")
    assert [found[key] for key in chosen] == [2, "cpu", "ray", 3, "auto", True]
    assert (found["data"], found["files"]) == ({"train": "ab"}, {"/my/rule.py": "cd"})
    assert found["variables"]["MKL_CBWR"] == "COMPATIBLE"
    assert "BLAS_INFO=" in found["torch_build"]
    assert found["numpy_blas"]
    assert found["cpu_capability"] == torch.backends.cpu.get_cpu_capability()
    assert found["device_name"] == found["cpu"]
    assert json.loads(json.dumps(found)) == found


def test_a_package_that_is_not_there(monkeypatch):
    from importlib.metadata import PackageNotFoundError

    module = sys.modules["fedsim.results.environment"]  # the package has a function of that name

    def absent(package):
        raise PackageNotFoundError(package)

    monkeypatch.setattr(module, "version", absent)
    assert environment("cpu", ENGINE, {}, {})["ray"] is None


def test_the_name_of_the_processor(tmp_path):
    listing = tmp_path / "cpuinfo"
    listing.write_text("processor : 0\nmodel name\t: Fast CPU: 9\nmodel name\t: Other\n")
    assert cpu_model(listing) == "Fast CPU: 9"
    assert cpu_model(tmp_path / "absent") == (platform.processor() or None)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_name_of_the_gpu():
    assert environment("cuda", ENGINE, {}, {})["device_name"] == torch.cuda.get_device_name(0)


def test_results_import_neither_torch_nor_flower():
    code = (
        "import sys, fedsim.results;"
        "print([name for name in ('torch', 'flwr', 'ray') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
