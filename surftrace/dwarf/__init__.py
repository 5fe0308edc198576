"""DWARF: the types, functions, variables, lines and locals that a compiler wrote down beside the code."""
