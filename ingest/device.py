"""Which device computes, and how much memory its accumulators may take."""

import os

import torch

from catalog.errors import InputError
from ingest.settings import check_device_name, check_precision_name
from ingest.statistics.precision import has_bf16


def resolve_device(name: str) -> torch.device:
    """`auto` is the first CUDA device, or the CPU.

    Raises:
        InputError: no such device on this machine.
    """
    check_device_name(name)
    if name == "auto":
        name = "cuda:0" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cuda":
        count = torch.cuda.device_count()
        if (device.index or 0) >= count:
            raise InputError(f"--device {name} is not there, this machine has {count} CUDA devices; give --device cpu.")
    return device


def check_precision(precision: str, device: torch.device) -> None:
    """Raises:
    InputError: the device has no instructions for products in this precision.
    """
    check_precision_name(precision, device.type)
    if precision == "bf16" and not has_bf16(device):
        raise InputError(f"--precision bf16 would be slower than fp32 on {device}, which has no bf16 units; leave it out.")


def memory_budget(device: torch.device, gib: float | None) -> int:
    """Bytes for accumulators: what was given, else half of what is free now."""
    if gib is not None:
        return int(gib * 2**30)
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] // 2
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def describe(device: torch.device) -> str:
    """For the run's record: the device, and what it is."""
    if device.type == "cuda":
        return f"{device} {torch.cuda.get_device_name(device)}"
    return f"cpu, {torch.get_num_threads()} threads"
