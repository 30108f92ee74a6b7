"""``python -m gitml``."""

from gitml.cli import main

main()
