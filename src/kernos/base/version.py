"""The version of this Kernos, in one place."""

VERSION = "0.1.0"
