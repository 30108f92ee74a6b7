"""The records of gitml as frozen values, and their one encoding; no input or output."""
