"""Numbered, forward-only changes of the schema. One transaction each way: all of them or none."""
