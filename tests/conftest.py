"""One hypothesis profile for all tests: the same examples on every run, no time limit for a single one."""

from hypothesis import settings

settings.register_profile("smallvessel", deadline=None, max_examples=60, derandomize=True)
settings.load_profile("smallvessel")
