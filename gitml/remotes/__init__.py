"""Remotes: places for bytes that others reach too, a folder, an object store or a machine."""
