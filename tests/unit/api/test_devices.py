from __future__ import annotations

from pathlib import Path

from kernos.api.devices import devices_here


def test_an_nvidia_driver_is_told_with_its_version(tmp_path: Path) -> None:
    folder = tmp_path / "proc/driver/nvidia"
    folder.mkdir(parents=True)
    (folder / "version").write_text(
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.1\nGCC version: 12\n"
    )

    gpu = devices_here(tmp_path)[1]

    assert gpu.state == "unavailable: this Kernos places no Runs on GPUs"
    assert gpu.detail == {"driver": "NVIDIA UNIX x86_64 Kernel Module  570.1"}


def test_a_machine_that_tells_nothing_still_has_a_cpu(tmp_path: Path) -> None:
    cpu, gpu = devices_here(tmp_path)

    assert (cpu.state, cpu.detail["model"], cpu.detail["memory_bytes"]) == ("available", "unknown", 0)
    assert gpu.state == "unavailable: no NVIDIA driver is loaded"
