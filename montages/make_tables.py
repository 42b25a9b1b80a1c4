"""Make the tables of this folder from MNE's colin27 template.

Run ``python montages/make_tables.py`` after a change of a list below; another folder
may be named behind it.  `braindecode_samba.signals.montages` knows how a name
becomes a place.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from braindecode_samba import positions_from_names
from braindecode_samba.signals import Montage, target_names, write_montage

_SOURCE = (
    "Source: the template colin27_1005 of MNE-Python, in MNE's head frame, metres.\n"
    "Licence: BSD-3-Clause (MNE-Python).\n"
    "Made by montages/make_tables.py."
)

_BCI2000_64 = (
    "FC5 FC3 FC1 FCz FC2 FC4 FC6 C5 C3 C1 Cz C2 C4 C6 CP5 CP3 CP1 CPz CP2 CP4 CP6 "
    "Fp1 Fpz Fp2 AF7 AF3 AFz AF4 AF8 F7 F5 F3 F1 Fz F2 F4 F6 F8 FT7 FT8 "
    "T7 T8 T9 T10 TP7 TP8 P7 P5 P3 P1 Pz P2 P4 P6 P8 PO7 PO3 POz PO4 PO8 O1 Oz O2 Iz"
).split()

# file name: what it is, and its electrodes in the order of the recordings
TABLES: dict[str, tuple[str, Sequence[str]]] = {
    "emotiv_epoc_14": (
        "Emotiv EPOC, 14 electrodes.",
        "AF3 F7 F3 FC5 T7 P7 O1 O2 P8 T8 FC6 F4 F8 AF4".split(),
    ),
    "tuh_bipolar_16": (
        "Temple University Hospital EEG, 16 bipolar derivations at their midpoints.",
        (
            "Fp1-F7 F7-T3 T3-T5 T5-O1 Fp2-F8 F8-T4 T4-T6 T6-O2 "
            "Fp1-F3 F3-C3 C3-P3 P3-O1 Fp2-F4 F4-C4 C4-P4 P4-O2"
        ).split(),
    ),
    "clinical_19": (
        "The 19 electrodes of a clinical 10-20 recording, old temporal names.",
        "Fp1 Fp2 F7 F3 Fz F4 F8 T3 C3 Cz C4 T4 T5 P3 Pz P4 T6 O1 O2".split(),
    ),
    "bnci2014_001_22": (
        "BNCI 2014-001 (BCI competition IV 2a), 22 electrodes.",
        (
            "Fz FC3 FC1 FCz FC2 FC4 C5 C3 C1 Cz C2 C4 C6 "
            "CP3 CP1 CPz CP2 CP4 P1 Pz P2 POz"
        ).split(),
    ),
    "physionetmi_64": (
        "PhysioNet EEG Motor Movement/Imagery Dataset, 64 electrodes.",
        _BCI2000_64,
    ),
    "bci_competition_p300_64": (
        "P300 speller of BCI competitions II (IIb) and III (II), 64 electrodes.",
        _BCI2000_64,
    ),
    "muse_4": ("Muse headband, 4 electrodes.", "TP9 AF7 AF8 TP10".split()),
    "targets_94": (
        "The 94 target electrodes of SAMBA's spatial embedding (colin27_1020).",
        target_names(),
    ),
}


def make_tables(folder: Path) -> None:
    """Write all tables to a folder that exists.

    Parameters
    ----------
    folder : pathlib.Path
        Where to; files of the same names are replaced.
    """
    for name, (title, electrodes) in TABLES.items():
        # 0.1 nm: readable digits, far below what an electrode's place means
        positions = positions_from_names(electrodes).round(10)
        source = f"{title}\n{_SOURCE}"
        montage = Montage(name, tuple(electrodes), positions, source=source)
        write_montage(folder / f"{name}.tsv", montage)


if __name__ == "__main__":
    make_tables(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
