"""The configuration: one typed table of directives, and the files that fill it."""
