"""Speed and memory of this package on the machine at hand; see README.md here.

``python -m tests.benchmarks.run``, from the repository's root, prints the tables.
Nothing here belongs to the package, and nothing is timed by the test suite.
"""
