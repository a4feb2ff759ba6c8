"""Records, usage and counters into view-models. Pure: nothing here waits, writes or asks the time."""
