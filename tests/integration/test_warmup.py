"""What the server does before it forks: nothing that would make it useless where a GPU is."""

import os
import subprocess
import sys

PRETEND_A_GPU = """
import os, torch
from torch.autograd import Variable

def fatal(*_, **__):
    os.write(2, b"the engine ran, or CUDA was asked")
    os._exit(9)

class Engine:
    run_backward = staticmethod(fatal)

Variable._execution_engine = Engine

# as torch counts where there is a GPU: CUDA is not asked where no device is to be seen
def device_count():
    return 0 if os.environ.get("CUDA_VISIBLE_DEVICES") == "" else fatal()

def is_available():
    return device_count() > 0 if os.environ.get("PYTORCH_NVML_BASED_CUDA_CHECK") == "1" else fatal()

torch.cuda.device_count, torch.cuda.is_available = device_count, is_available
"""
WARM_UP = """
from noctuary.sandbox.server import warm_up
warm_up("fast")
"""
TOUCH = {
    "a backward pass": "torch.ones(2, requires_grad=True).sum().backward()",
    "a count of GPUs": "torch.cuda.is_available()",
}


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "0"},
        check=False,
    )


def test_it_computes_no_gradient_and_asks_no_gpu() -> None:
    """The first would leave its forks without the engine's threads, the second without CUDA."""
    done = run(PRETEND_A_GPU + WARM_UP + "print(os.environ['CUDA_VISIBLE_DEVICES'])")
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr
    for touch in TOUCH.values():
        assert run(PRETEND_A_GPU + touch).returncode == 9, touch


def test_gradients_are_real_again_afterwards() -> None:
    after = """
import torch
x = torch.ones(2, requires_grad=True)
(3 * x).sum().backward()
print(x.grad.tolist())
"""
    done = run(WARM_UP + after)
    assert done.stdout == "[3.0, 3.0]\n", done.stderr
