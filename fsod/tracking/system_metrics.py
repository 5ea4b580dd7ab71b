"""Load of the machine: processor, memory, disk, network counters and GPUs, by MLflow's own monitors."""

from __future__ import annotations

import importlib.util

import torch


class SystemMetrics:
    """Readings under the names that MLflow's pages know (``system/cpu_utilization_percentage`` and so on)."""

    def __init__(self) -> None:
        # one by one: MLflow's collection of them imports its autologging, for ten seconds, and opens a database of its own
        from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
        from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
        from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
        from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

        self._monitors = [CPUMonitor(), DiskMonitor(), NetworkMonitor()]
        if torch.version.cuda and torch.cuda.is_available() and importlib.util.find_spec("pynvml"):
            self._monitors.append(GPUMonitor())
        self._collect()  # the load of a processor is counted from one reading to the next

    def read(self) -> dict[str, float]:
        """The load since the last reading, and what memory and disk hold now.

        Raises:
            OSError, psutil.Error: the machine does not tell.
        """
        self._collect()
        return {
            f"system/{name}": float(value)
            for each in self._monitors
            for name, value in each.aggregate_metrics().items()
        }

    def _collect(self) -> None:
        for each in self._monitors:
            each.clear_metrics()
            each.collect_metrics()
