"""Standard library and msgspec only: errors, ids, digests, clock, files, units, processes, settings, logging."""
