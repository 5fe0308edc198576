"""Real kernels for the tests: Debian's cloud kernels in QEMU, with the host's files shared read-only."""
