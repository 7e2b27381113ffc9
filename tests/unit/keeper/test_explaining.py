"""Of what was long ago the day is told as well."""

import re
import time

from rbee.keeper.explaining import _clock


def test_today_has_a_time_and_other_days_a_date() -> None:
    assert re.fullmatch(r"\d\d:\d\d:\d\d", _clock(int(time.time() * 1000)))
    assert re.fullmatch(r"2001-09-0\d \d\d:\d\d:40", _clock(1_000_000_000_000))
