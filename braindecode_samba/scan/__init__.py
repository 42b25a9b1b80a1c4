"""The state-space dual, the recurrence of Mamba-2, and what makes it fast.

Nothing here knows of EEG.
"""

from braindecode_samba.scan.chunks import chunked_scan
from braindecode_samba.scan.dual import recurrent_scan, ssd_scan
from braindecode_samba.scan.stack import serving

__all__ = [
    "chunked_scan",
    "recurrent_scan",
    "serving",
    "ssd_scan",
]
