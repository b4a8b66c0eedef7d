"""The command line: options, presets, types of values, and what --resume reads again.

What an option does is where its value is read; docs/architecture.md has an example.
"""
