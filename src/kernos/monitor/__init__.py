"""Drift, live accuracy, triggers."""
