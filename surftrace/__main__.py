"""Entry of `python -m surftrace`."""

from surftrace.cli.entry import main

main()
