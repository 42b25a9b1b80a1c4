"""The command line as a module: ``python -m braindecode_samba``."""

import sys

from braindecode_samba.cli import main

if __name__ == "__main__":
    sys.exit(main())
