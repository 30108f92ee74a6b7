"""Stacks: what runs steps and where bytes go, chosen without touching a pipeline's code."""
