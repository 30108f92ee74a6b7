"""What it takes to keep data: gitml beside its peers and the floor of the machine, in one run.

``python -m tests.bench.storage`` measures whole commands (wall time, the peak of the largest
process, the bytes that a store grew by) and prints Markdown tables for docs/benchmarks.md.

    inputs.py    the data, the same in every run
    tools.py     the tools as data: how each one starts, adds, tells its status, checks out
    place.py     where a tool works; old trees are moved away, never deleted in between
    works.py     what is done with a tool, step by step; every timed step is a row
    results.py   what was measured, and its JSON
    report.py    the tables, with who wins and which goals are met
"""
