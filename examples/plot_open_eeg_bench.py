"""
SAMBA in Open EEG Bench
=======================

Open EEG Bench scores foundation models on a dozen data sets. It builds a model from
its class, fills it from a file of weights, puts a new layer in the place of
``final_layer`` and trains that. SAMBA keeps this contract as it is: what it takes is a
file. Here on simulated windows at the benchmark's 100 Hz, without a download; with the
real data sets it is one call, at the end.
"""

# %%
# Weights for the benchmark
# -------------------------
# A pretrained checkpoint, by its name or folder.

import tempfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import RidgeClassifierCV
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from braindecode_samba import SAMBA
from braindecode_samba.evaluation import benchmark_arguments
from braindecode_samba.signals import EEGSimulator

scratch = tempfile.TemporaryDirectory()
arguments = benchmark_arguments("samba-e", Path(scratch.name) / "samba.pth")
for name, value in arguments.items():
    print(f"{name} = {value!r}")

# %%
# What the benchmark does with it
# -------------------------------
# Windows of four subjects who imagine moving the left or the right hand.

simulator = EEGSimulator(sfreq=100, erd=0.9)
X, y, subjects, info = simulator.imagery(n_subjects=4, n_trials=15)
print(f"windows of shape {X.shape[1:]} at {info['sfreq']:g} Hz")

model = SAMBA(
    n_chans=len(info["chs"]),
    n_times=X.shape[2],
    n_outputs=2,
    sfreq=info["sfreq"],
    chs_info=info["chs"],
    **arguments["model_kwargs"],
)
weights = torch.load(arguments["checkpoint_path"], weights_only=True)
print("left new:", model.load_state_dict(weights, strict=False).missing_keys)

# %%
# The missing names are the last layer, and buffers: what follows from the data stays as
# it is. The benchmark's ridge probe takes the last layer away and fits a
# ridge regression on what came in; three subjects to learn from, the fourth to test.

model.final_layer = nn.Flatten(1)
model.eval()
with torch.no_grad():
    batches = torch.from_numpy(X.astype(np.float32)).split(16)
    features = torch.cat([model(batch) for batch in batches]).numpy()

train, test = subjects < 4, subjects == 4
ridge = make_pipeline(StandardScaler(), RidgeClassifierCV(np.logspace(-3, 6, 19)))
ridge.fit(features[train], y[train])
score = balanced_accuracy_score(y[test], ridge.predict(features[test]))
print(f"ridge probe, {features.shape[1]} features: balanced accuracy {score:.2f}")

# %%
# The same by the benchmark's own code
# ------------------------------------
# After ``pip install open-eeg-bench``, one call does this for its data sets, which it
# downloads. Strategies that train whole layers fit SAMBA: "frozen", "ridge_probe",
# "two_stages" and "full_finetune".

if find_spec("open_eeg_bench"):
    from open_eeg_bench import benchmark

    experiments = benchmark(
        **arguments,
        datasets=["arithmetic_zyma2019", "bcic2a"],
        finetuning_strategies=["ridge_probe"],
        n_seeds=1,
        infra={"folder": scratch.name},
        only_return_configs=True,  # leave this out to run them
    )
    print([experiment.dataset.hf_id for experiment in experiments])
else:
    print("Open EEG Bench is not installed")
scratch.cleanup()
