"""The steps of a run: each reads the files of the step before it, calls the engine, writes its own and tracks itself.

The command line and the demo are made of these.
"""
