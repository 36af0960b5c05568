"""The rehearsal fleet and its sandbox, for every test of this folder."""

from tests.rehearsal import fleet, sandbox

__all__ = ["fleet", "sandbox"]
