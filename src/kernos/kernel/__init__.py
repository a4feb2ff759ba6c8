"""Runs: scheduled by a pure core, driven by one driver, executed in processes of their own."""
