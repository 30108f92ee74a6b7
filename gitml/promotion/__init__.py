"""Promotion: which version holds which stage, as immutable tags."""
