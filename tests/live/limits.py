"""How long the long tests take: seconds of a soak, which `make soak` sets; 0 in `make test`, where they are short."""

import os

SOAK_S = float(os.environ.get("SURFTRACE_SOAK_S", "0"))
