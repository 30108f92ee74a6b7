"""Orchestrators: one file a flavor; each decides where and in which order steps run."""
