"""The code that a step is: everything its result can depend on, found by reading files."""
