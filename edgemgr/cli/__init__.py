"""The command line: one file for each noun, mounted by `main`."""
