"""
What a decoder of real imagery goes by
======================================

Left against right imagined fists (PhysioNet's eegmmidb) as in ``evaluate.py``,
whose trials it takes: SAMBA is trained on subjects 1 to 28, and the map shows which
rhythms, at which electrodes of subjects 29 to 39, go with its decision::

    python examples/experiments/evaluate_map.py --data-path FOLDER \
        --output results/imagery --figure map.png

Beside it the map that the labels alone give, without any decoder. Where the two agree
the decoder goes by what differs between the hands; no map says what lies below the
electrodes.
"""

import argparse
import os
from pathlib import Path

import matplotlib.pyplot as plt
import mne
import numpy as np
from trials_and_methods import SFREQ, SUBJECTS, read_trials, score_people

from braindecode_samba import SAMBAClassifier
from braindecode_samba.plots import decision_pattern, log_band_power, plot_scalp_map

BANDS = {"mu, 8 to 13 Hz": (8, 13), "beta, 13 to 30 Hz": (13, 30)}


def parse():
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[1])
    add = parser.add_argument
    add("--data-path", default=os.environ.get("BRAINDECODE_SAMBA_DATA"))
    add("--output", type=Path, default=Path("results"), help="folder of the trials")
    add("--checkpoint", default="samba-e", help="name, folder or file")
    add("--device", default="auto")
    add("--figure", type=Path, help="file to write the figure to")
    return parser.parse_args()


def difference(power, y, groups):
    """Power on the right hand less that on the left, dB, mean over subjects."""
    return np.mean(
        [
            power[(groups == one) & (y == 1)].mean(0)
            - power[(groups == one) & (y == 0)].mean(0)
            for one in np.unique(groups)
        ],
        axis=0,
    )


args = parse()
args.output.mkdir(parents=True, exist_ok=True)
window = [0.5, 3.5]
file = args.output / "imagery-0.5-3.5s.npz"
data = read_trials(file, "imagery", args.data_path, window)
X, y, groups, names = (data[name] for name in ("X", "y", "groups", "names"))
names = names.tolist()
(_, last), (first, end) = SUBJECTS["imagery"]
train, test = groups <= last, (first <= groups) & (groups <= end)
samba = SAMBAClassifier(
    ch_names=names,
    sfreq=SFREQ,
    mirror={0: 1, 1: 0},
    checkpoint=args.checkpoint,
    device=args.device,
).fit(X[train], y[train], groups=groups[train])

# %%
# Two maps a band
# ---------------

people = groups[test]
evidence = samba.decision_function(X[test], groups=people)
scores = score_people(y[test], evidence, people)
print("AUC:", ", ".join(f"{one} {score:.2f}" for one, score in scores.items()))
print(f"mean {np.mean(list(scores.values())):.3f}")
patterns = decision_pattern(samba, X[test], groups=people, bands=BANDS)
power = log_band_power(X[test].astype(float), SFREQ, BANDS)

info = mne.create_info(names, SFREQ, "eeg").set_montage("colin27_1005")
fig, panels = plt.subplots(1, 4, figsize=(13, 3.6), layout="constrained")
for number, band in enumerate(BANDS):
    labels = difference(power[:, number], y[test], people)
    agree = np.corrcoef(patterns[number], labels)[0, 1]
    print(f"{band}: decision and labels correlate at {agree:.2f}")
    shown = (("decision", patterns[number]), ("labels", labels))
    for place, (kind, values) in enumerate(shown):
        panel = panels[2 * number + place]
        plot_scalp_map(values, info["chs"], axes=panel)
        panel.set_title(f"{kind}\n{band}")
        largest = names[int(abs(values).argmax())]
        print(f"  {kind}: largest at {largest}, {values[abs(values).argmax()]:+.2f} dB")
if args.figure:
    fig.savefig(args.figure, dpi=120)
plt.show()
