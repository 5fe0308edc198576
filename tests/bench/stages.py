"""The stages of a compilation, timed inside its process: a BTF file and a probe in argv, JSON of CPU seconds out."""

import json
import sys
import time
from collections.abc import Callable
from importlib import import_module


def main(btf: str, probe: str) -> dict[str, float]:
    """Return the CPU seconds that each stage took, in their order."""
    stages: dict[str, float] = {}

    def timed(name: str, stage: Callable[[], object]) -> None:
        begin = time.process_time()
        stage()
        stages[name] = time.process_time() - begin

    timed("import lark", lambda: import_module("lark"))
    timed("import drgn", lambda: import_module("drgn"))
    timed("other imports", lambda: import_module("surftrace.cli.main"))
    # Importing these at the top would hide what it costs.
    from surftrace.compiler.resolve import resolve
    from surftrace.kernel.machine import machine_named
    from surftrace.kernel.offline import OfflineKernel
    from surftrace.kernel.target import Target
    from surftrace.lang.script import parse_script

    timed("grammar", lambda: parse_script(["p f"]))
    timed("BTF scan", lambda: OfflineKernel.of_files(btf))
    target = Target(machine_named("x86_64"), OfflineKernel.of_files(btf))
    timed("the probe", lambda: resolve(parse_script([probe]), target))
    return stages


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
