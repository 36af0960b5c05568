"""Benchmarks, each beside what it is compared to, in one run: ratios and medians, never a timed test."""
