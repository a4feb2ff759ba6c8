"""Quantiles out of the data plane's latency buckets."""

from __future__ import annotations

from collections.abc import Sequence

from kernos.runtime.wanted import LATENCY_BOUNDS_MS


def quantile_ms(buckets: Sequence[int], share: float) -> float:
    """The latency that `share` (0 to 1) of the requests stay under, linear within a bucket.

    `buckets` counts per bound of `LATENCY_BOUNDS_MS`, one more for what lies above; there the answer is the
    last bound, a lower limit. 0 without requests.
    """
    total = sum(buckets)
    if total == 0:
        return 0.0
    wanted = share * total
    seen = 0
    for index, count in enumerate(buckets):
        if count and seen + count >= wanted:
            if index >= len(LATENCY_BOUNDS_MS):
                break
            low = LATENCY_BOUNDS_MS[index - 1] if index else 0.0
            return low + (LATENCY_BOUNDS_MS[index] - low) * (wanted - seen) / count
        seen += count
    return float(LATENCY_BOUNDS_MS[-1])
