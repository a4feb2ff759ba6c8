from kernos.base.clock import ManualClock, SystemClock, iso


def test_the_system_clock_goes_on() -> None:
    clock = SystemClock()

    assert clock.monotonic_s() <= clock.monotonic_s()
    assert clock.wall_ms() > 1_700_000_000_000


def test_a_manual_clock_moves_when_told() -> None:
    clock = ManualClock(wall_ms=1000)
    clock.advance(1.5)
    clock.jump_wall(-10)

    assert clock.monotonic_s() == 1.5
    assert clock.wall_ms() == 1000 + 1500 - 10_000


def test_times_are_written_in_utc_with_milliseconds() -> None:
    assert iso(0) == "1970-01-01T00:00:00.000Z"
    assert iso(1_790_000_000_123) == "2026-09-21T14:13:20.123Z"
