"""Which device, which precision, how many threads."""

from __future__ import annotations

import ctypes
import platform
from dataclasses import dataclass

import torch

from fsod.compute.distributed import own_gpu, threads
from fsod.compute.waiting_threads import spin_only_while_idle


@dataclass(frozen=True)
class Machine:
    """Where tensors live and how the trunk computes.

    Attributes:
        device: cuda, mps or cpu.
        trunk_dtype: precision of the trunk's convolutions.
    """

    device: torch.device
    trunk_dtype: torch.dtype

    def __str__(self) -> str:
        precision = str(self.trunk_dtype).removeprefix("torch.")
        threads = f", {torch.get_num_threads()} threads" if self.device.type == "cpu" else ""
        return f"{self.device.type} {precision}{threads}"


def choose_machine(precision: str = "auto") -> Machine:
    """The best device there is; ``auto`` takes bfloat16 where the hardware multiplies it natively.

    Args:
        precision: auto, float32 or bfloat16.
    """
    torch.set_num_threads(threads())
    if torch.cuda.is_available():
        device, native = own_gpu(), torch.cuda.is_bf16_supported(including_emulation=False)
    elif torch.backends.mps.is_available():
        device, native = torch.device("mps"), False
    else:
        device, native = torch.device("cpu"), _cpu_multiplies_bfloat16()
    if device.type == "cpu":
        _keep_freed_memory()
        spin_only_while_idle()
    wanted = native if precision == "auto" else precision == "bfloat16"
    return Machine(device, torch.bfloat16 if wanted else torch.float32)


def _cpu_multiplies_bfloat16() -> bool:
    # without AVX512_BF16 or AMX bfloat16 is emulated and slower than float32
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


def _keep_freed_memory() -> None:
    """Lets glibc reuse the memory of freed tensors instead of returning it to the kernel.

    Every step allocates the same large maps again. Returned memory comes back page by page, zeroed by the kernel: on two
    cores that took half of a training step. A thread's own heaps, of 64 MiB each, go back whole as soon as they are empty
    and the one before has room for the padding, whatever the threshold; so the padding is more than that.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    trim_threshold, top_pad, mmap_threshold, largest_int = -1, -2, -3, 2**31 - 1
    libc = ctypes.CDLL(None)
    libc.mallopt(mmap_threshold, largest_int)
    libc.mallopt(trim_threshold, largest_int)
    libc.mallopt(top_pad, 2**26)
