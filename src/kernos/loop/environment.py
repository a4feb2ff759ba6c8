"""The libraries a result depends on, as one digest: read from package metadata, nothing is imported."""

from __future__ import annotations

import platform
from importlib import metadata

from kernos.base.digests import of_value

LIBRARIES = (
    "numpy",
    "polars",
    "pandas",
    "scikit-learn",
    "scipy",
    "onnx",
    "onnxruntime",
    "skl2onnx",
    "optuna",
)


def versions() -> dict[str, str]:
    """Library -> version; a library that is absent is left out."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def environment_digest() -> str:
    return of_value(versions())
