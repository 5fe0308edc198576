"""Whatever is written, the front end answers with a plan or with diagnostics; damaged files get a SurftraceError.

The same examples each time in `make test`; many times as many, and new ones, in `make fuzz`.
"""
