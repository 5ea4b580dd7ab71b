"""More than one process: torchrun starts them, torch.distributed joins them.

Every process sees all supports of an episode and its own share of the queries; gradients are averaged over the
processes, so that they take the same steps. With one process nothing here does anything.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from fsod.errors import UserError

TIMEOUT = timedelta(minutes=10)  # for the slowest wait: the first process decodes all images, the others do nothing
GO_ON = "start the same command again to go on from the last checkpoint"


def processes() -> int:
    """How many processes train together, on all machines."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Whether this process is the one that writes, prints and tracks."""
    return processes() == 1 or os.environ["RANK"] == "0"


def own_gpu() -> torch.device:
    """The GPU of this process, which becomes torch's current one.

    Raises:
        UserError: there are more processes on this machine than GPUs.
    """
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    if device.index >= torch.cuda.device_count():
        raise UserError(f"torchrun: --nproc-per-node can be {torch.cuda.device_count()} at most: one process per GPU")
    torch.cuda.set_device(device)
    return device


def threads() -> int:
    """Threads of this process: an equal part of the machine's cores, or what ``OMP_NUM_THREADS`` asks for.

    torchrun sets that to 1 where it is not set, however many cores there are, so 1 counts as not set.
    """
    asked, neighbours = int(os.environ["OMP_NUM_THREADS"]), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if neighbours == 1 or asked > 1:
        return asked
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(cores // neighbours, 1)


@contextmanager
def joined(device: torch.device) -> Iterator[None]:
    """Joins the processes that torchrun started.

    torchrun tells the others to end where one has died; the first process then ends with a line that says so.

    Raises:
        UserError: another process is gone.
    """
    if processes() == 1:
        yield
        return
    if is_first():
        signal.signal(signal.SIGTERM, _told_to_end)
    try:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
        yield
        dist.destroy_process_group()  # not after an error: it may wait for those that are gone
    except RuntimeError as error:
        if not (isinstance(error, dist.DistError) or "gloo" in str(error)):
            raise
        raise UserError(f"another process of this run died or cannot be reached; {GO_ON}") from error
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def first_goes_ahead() -> Iterator[None]:
    """For files that are made when they are missing: the first process makes them, the others wait and find them."""
    if processes() > 1 and not is_first():
        dist.barrier()
    yield
    if processes() > 1 and is_first():
        dist.barrier()


def share_of(queries: int) -> range:
    """Which of an episode's queries are this process's.

    Raises:
        UserError: there are fewer queries than processes.
    """
    if queries < processes():
        raise UserError(f"episodes.queries: {queries} cannot be shared among {processes()} processes; start fewer")
    return range(queries)[0 if processes() == 1 else dist.get_rank() :: processes()]


def mean_over_processes(value: Tensor) -> Tensor:
    """The mean of what every process hands in; no gradient passes."""
    if processes() == 1:
        return value.detach()
    total = value.detach().float().clone()
    dist.all_reduce(total)
    return total / processes()


def average_gradients(parameters: Iterable[Tensor]) -> None:
    """Gives every process the mean of the gradients that all have, as ``parallel`` does for a module."""
    if processes() == 1:
        return
    for parameter in parameters:
        if parameter.grad is not None:
            dist.all_reduce(parameter.grad)
            parameter.grad /= processes()


def parallel(objective: nn.Module) -> nn.Module:
    """The module with its gradients, and the first process's weights and batch norm statistics, shared by all."""
    return objective if processes() == 1 else DistributedDataParallel(objective)


def _told_to_end(number: int, frame: FrameType | None) -> None:
    # no UserError: libraries that are at work just now would take an Exception for a failure of theirs
    sys.exit(f"fsod: told to end, as a rule because another process of this run died (see torchrun's report); {GO_ON}")
