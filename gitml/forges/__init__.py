"""Forges: where a team reviews changes. What gitml asks of one is `base.Forge`; a file each."""
