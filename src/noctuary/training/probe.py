"""What a worker process finds: its accelerator and its versions. For `noctuary doctor`."""

from typing import Any

import lightning
import torch


def probe() -> dict[str, Any]:
    """Return what torch sees. Touches CUDA, so it runs in a child of its own."""
    cuda = torch.cuda.is_available()
    return {
        "status": "ok",
        "torch": torch.__version__,
        "lightning": lightning.__version__,
        "cuda": cuda,
        "device": torch.cuda.get_device_name() if cuda else None,
        "gpu_memory_mb": torch.cuda.mem_get_info()[1] // 2**20 if cuda else None,
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
    }
