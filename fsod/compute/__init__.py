"""The machine: device, precision, threads, processes."""
