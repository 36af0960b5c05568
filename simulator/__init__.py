"""A world to run against: clock, population, portfolio and sandbox providers."""
