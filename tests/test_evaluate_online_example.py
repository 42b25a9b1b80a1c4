"""The command that compares a stream with the same windows offline."""

import importlib
import sys
from pathlib import Path

import mne
import numpy as np
import pytest

from braindecode_samba import SAMBAClassifier, SAMBAStream

pytest.importorskip(
    "moabb", reason='needs MOABB: pip install "braindecode-samba[moabb]"'
)
SCRIPTS = Path(__file__).parents[1] / "examples" / "experiments"
NAMES = ["C3", "Cz", "C4"]


def test_the_windows_online_are_those_offline(make_eeg, monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    module = importlib.import_module("evaluate_online")
    monkeypatch.delitem(sys.modules, "evaluate_online")
    info = mne.create_info(NAMES, 160, "eeg").set_montage("colin27_1005")
    x = make_eeg(1, len(NAMES), 160 * 20)[0].numpy()
    raw = mne.io.RawArray(x, info, verbose="error")
    cues = np.array([[160 * 2 + 7, 0], [160 * 9, 1], [160 * 18, 0]])
    stops = module.stops_of(raw, cues)
    # on the grid of half a second, and none behind the end
    assert stops.tolist() == [80 * 11, 80 * 25, 80 * 40]
    decoder = SAMBAClassifier(random_state=0)
    epochs = module.epochs_of(module.causal(raw), np.arange(480, 3200, 320))
    decoder.fit(epochs, np.arange(len(epochs)) % 2, groups=np.arange(len(epochs)) // 3)
    decoder.adapt(epochs)
    stream = SAMBAStream(
        decoder, hop_seconds=module.HOP, band=module.BAND, learning=False
    )
    said, times = module.follow(stream, raw, stops)
    assert len(times) == 40 - 6 + 1
    offline = module.epochs_of(module.causal(raw), stops)
    expected = decoder.predict_proba(offline)[:, 1]
    np.testing.assert_allclose(said, expected, atol=1e-4)
