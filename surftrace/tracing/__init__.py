"""Plan to events: tracefs, sessions, the trace pipe."""
