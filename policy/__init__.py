"""May we, now? Pure rules, one kind per file; judge.py puts them in order."""
