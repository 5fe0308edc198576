"""Exit statuses that the man page names, besides those of errors."""

# With --strict: something was not seen or not counted. Of a trace that --max-rate has ended, too.
LOSS_STATUS = 3
