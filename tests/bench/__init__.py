"""How long surftrace takes, beside what else does the same."""
