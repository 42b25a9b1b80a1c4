"""
Pretrain SAMBA and watch it learn
=================================

Windows of two simulated caps are written to disk, a small network learns to rebuild
what is hidden of them, and its checkpoint is loaded again. It takes a minute on one
core and needs no download::

    python examples/plot_pretrain.py

For folders of recordings, runs that go on after an interruption and several GPUs there
are the commands ``braindecode-samba prepare`` and ``braindecode-samba pretrain``.
"""

# %%
# Recordings to windows
# ---------------------
# Two caps with different electrodes, three people under each; the third one is held
# out. ``write_windows`` filters each recording, cuts it, and writes the windows once;
# they are read from disk when they are needed.

import argparse
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from braindecode_samba import SAMBAReconstructor
from braindecode_samba.pretraining import (
    Corpus,
    Masking,
    MontageAugmentation,
    OneCycle,
    SAMBAPretrainer,
    write_windows,
)
from braindecode_samba.pretraining.batches import collate
from braindecode_samba.signals import EEGSimulator

parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
parser.add_argument("--epochs", type=int, default=10)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--figures", type=Path, help="folder to write the figures to")
args, _ = parser.parse_known_args()  # a gallery has arguments of its own

scratch = tempfile.TemporaryDirectory()
caps = {
    "motor": "F3 Fz F4 FC1 FC2 C3 Cz C4 CP1 CP2 P3 Pz P4".split(),
    "posterior": "C3 Cz C4 P7 P3 Pz P4 P8 PO3 PO4 O1 Oz O2".split(),
}
stores = {}
for cap, names in caps.items():
    simulator = EEGSimulator(names, sfreq=160, seed=args.seed)
    recordings = [simulator.raw(subject=s, n_trials=5) for s in (1, 2, 3)]
    stores[cap] = write_windows(
        recordings,
        Path(scratch.name, cap),
        subjects=["one", "two", "three"],
        window_seconds=1.0,
        stride_seconds=0.5,
    )
    print(f"{cap}: {len(stores[cap])} windows of {len(names)} electrodes")


def choose(*subjects):
    """Windows of some people, under both caps."""
    return {cap: type(store)(store.folder, subjects) for cap, store in stores.items()}


# %%
# Training
# --------
# In each epoch a window shows all its electrodes, some, or few. Half of the samples are
# hidden, in blocks, at all electrodes at the same time. The loss is that of the hidden
# samples; the held-out ones are the same in every epoch.

drawn = {
    cap: MontageAugmentation(store, ["all", "dropout", "subset"], seed=args.seed)
    for cap, store in choose("one", "two").items()
}
held_out = Corpus(choose("three"))
net = SAMBAPretrainer(
    masking=Masking(ratio=0.5, n_blocks=4),
    criterion__norm="ortho",
    criterion__region="masked",
    module__d_state=4,
    module__expand=2,
    lr=3e-3,
    max_epochs=args.epochs,
    batch_size=16,
    callbacks=[OneCycle()],
    random_state=args.seed,
    device="cpu",
    verbose=0,
).fit(Corpus(drawn), valid=held_out)

# %%
# What it has learnt
# ------------------
# Beside the curve, what nothing learnt would score: zeros in the place of what is
# hidden. A window is drawn with what was visible of it.

batch = collate([held_out[row] for row in range(len(held_out))])
target, output, mask = net.rebuild_batch(batch, net.masking)
zeros = net.criterion_(0 * target, target, mask, batch["ch_mask"]).item()
train_loss, valid_loss = np.array(net.history[:, ("train_loss", "valid_loss")]).T
print(f"held out: {valid_loss[-1]:.3f} after training, {zeros:.3f} for zeros")

curve, axes = plt.subplots(figsize=(6, 4), layout="constrained")
epochs = np.arange(1, len(train_loss) + 1)
axes.plot(epochs, train_loss, "o-", label="training, any electrodes")
axes.plot(epochs, valid_loss, "o-", label="somebody held out")
axes.axhline(zeros, color="0.6", linestyle=":", label="zeros, held out")
axes.set(xlabel="epoch", ylabel="loss of hidden samples")
axes.legend()

# %%

names, row = caps["motor"], 4
shown = [names.index(name) for name in ("F3", "Cz", "C4", "Pz")]
times = np.arange(target.shape[2]) / 128
hidden = ~mask[row].numpy()
windows, rows = plt.subplots(
    len(shown), sharex=True, figsize=(8, 5), layout="constrained"
)
for channel, axes in zip(shown, rows, strict=True):
    signal, rebuilt = (w[row, channel].numpy() for w in (target, output))
    axes.fill_between(
        times, 0, 1, where=hidden, transform=axes.get_xaxis_transform(),
        color="0.92", step="mid", label="hidden",
    )  # fmt: skip
    axes.plot(times, signal, color="0.6", label="original")
    axes.plot(times, np.where(hidden, np.nan, signal), color="k", label="visible")
    axes.plot(times, np.where(hidden, rebuilt, np.nan), "C3", label="rebuilt")
    axes.set_ylabel(names[channel])
rows[0].legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=4, frameon=False)
rows[-1].set_xlabel("s")

# %%
# A checkpoint
# ------------
# A folder with weights, configuration and a card. What is loaded is what was saved, and
# it takes electrodes that no cap had.

folder = net.save_checkpoint(Path(scratch.name, "checkpoint"))
print(sorted(path.name for path in folder.iterdir()))
model = SAMBAReconstructor.from_pretrained(str(folder)).eval()
window = stores["motor"][0]
same = net.model_.spatial_weights(window["pos"])
np.testing.assert_array_equal(
    model.spatial_weights(window["pos"]).detach(), same.detach()
)
print(model(window["x"][None, :5], pos=window["pos"][:5]).shape)

if args.figures:
    args.figures.mkdir(parents=True, exist_ok=True)
    curve.savefig(args.figures / "pretrain_curve.png", dpi=120)
    windows.savefig(args.figures / "pretrain_windows.png", dpi=120)
scratch.cleanup()
plt.show()

# %%
# Look at the first figure for the distance of the held-out curve from the dotted line,
# which is what was learnt, and at the second for slow waves, which are rebuilt before
# fast ones.
