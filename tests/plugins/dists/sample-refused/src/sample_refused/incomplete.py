"""Needs a module that is not installed."""

import sample_missing_module  # type: ignore[import-not-found]


class Incomplete:
    needs = sample_missing_module
