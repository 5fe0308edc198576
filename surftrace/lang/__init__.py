"""Text to AST: source spans, syntax, parser, saved scripts."""
