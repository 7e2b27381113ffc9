"""What is asserted in ``promises`` is explained as in any test."""

import pytest

pytest.register_assert_rewrite("tests.unit.queen.store.promises")
