"""The two models: SAMBA, a braindecode classifier, and its reconstructing twin."""

from braindecode_samba.models.reconstructor import SAMBAReconstructor
from braindecode_samba.models.samba import SAMBA

__all__ = ["SAMBA", "SAMBAReconstructor"]
