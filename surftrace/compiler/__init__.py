"""AST to plan: resolve, generate, render."""
