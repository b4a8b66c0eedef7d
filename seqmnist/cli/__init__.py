"""The command line: options, presets, types of values, and the options of --resume.

An option takes effect where its value is read; docs/architecture.md has an example.
"""
