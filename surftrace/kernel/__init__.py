"""What the compiler must know of a kernel: types, symbols, machine, target."""
