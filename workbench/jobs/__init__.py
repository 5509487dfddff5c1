"""Runs in the background: supervisors, the queue, device leases, what may be asked of them. No torch here."""

from workbench.jobs.control import cancel_run, discard_runs, is_background, pause_run, stop_run
from workbench.jobs.device import Device, devices
from workbench.jobs.lease import GpuUse, Holder, gpu_usage, holders
from workbench.jobs.queue import QueueEntry, move_in_queue, queue_of
from workbench.jobs.start import Launched, check_divisions, check_launch, check_place, launch, resume_run

__all__ = [
    "Device",
    "GpuUse",
    "Holder",
    "Launched",
    "QueueEntry",
    "cancel_run",
    "check_divisions",
    "check_launch",
    "check_place",
    "devices",
    "discard_runs",
    "gpu_usage",
    "holders",
    "is_background",
    "launch",
    "move_in_queue",
    "pause_run",
    "queue_of",
    "resume_run",
    "stop_run",
]
