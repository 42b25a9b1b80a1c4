"""Whatever comes in, every public entry gives finite numbers or one of our refusals.

``python -m tests.fuzz --minutes 60`` throws random but possible inputs at them for as
long as one likes; `tests/test_fuzz.py` does so for some seconds.  What a refusal is
stands in `refusals`, what is thrown at what in `signals`, `files` and `words`.
"""
