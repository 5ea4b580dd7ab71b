"""GPUs that are not there, as far as a CPU can be as strict as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

ToGpu = Callable[[Tensor], Tensor]


@contextmanager
def fake_gpu() -> Iterator[ToGpu]:
    """A GPU of tensors without numbers, which torch refuses to mix with those of the CPU as it would a real one's.

    Gives what moves a tensor there. Inside the block nothing has numbers, tensors of the CPU neither.
    """
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with mode, torch.no_grad():  # gradients need a real device
        yield lambda tensor: FakeTensor(mode, tensor.detach().to("meta"), torch.device("cuda", 0))


def move(module: nn.Module, to_gpu: ToGpu) -> None:
    """As ``module.to(device)``, which asks for a torch that was built for the device."""
    for part in module.modules():
        for name, weight in list(part.named_parameters(recurse=False)):
            part.register_parameter(name, nn.Parameter(to_gpu(weight), requires_grad=False))
        for name, counter in list(part.named_buffers(recurse=False)):
            part.register_buffer(name, to_gpu(counter))


class AppleTensor(torch.Tensor):
    """A tensor with numbers on an Apple GPU: it takes no float64, and has to come to the CPU before NumPy sees it."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Does what is asked; TypeError for what MPS refuses."""
        if func is torch.Tensor.numpy:
            raise TypeError("can't convert mps:0 device type tensor to numpy. Use Tensor.cpu() first")
        result = super().__torch_function__(func, types, args, kwargs or {})
        if func is torch.Tensor.cpu:
            return result.as_subclass(torch.Tensor)
        if isinstance(result, torch.Tensor) and result.dtype == torch.float64:
            raise TypeError("Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64")
        return result
