"""Kernos: an AI operating system. One kernel, one catalog, one journal."""

from kernos.base.version import VERSION as __version__
from kernos.spec.app import App
from kernos.spec.model import Model

__all__ = ["App", "Model", "__version__"]
