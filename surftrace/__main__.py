"""Entry of `python -m surftrace`."""

import sys

from surftrace.cli.main import main

sys.exit(main())
