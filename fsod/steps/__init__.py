"""The steps of a run: each reads the files of the step before it, calls what learns, detects or measures, writes its own and tracks itself.

The command line and the demo are made of these.
"""
