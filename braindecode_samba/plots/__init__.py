"""Figures: evidence, maps over the scalp, rebuilt signals, embeddings, attributions.

Every function draws into the axes that it is given, or into a new figure of pyplot, and
returns the figure.  Maps are drawn by MNE.

To see where the signals lie that drive a decision, use `plot_decision_pattern`: on
simulated EEG, whose sources are known, it points at them; attributions do so less well,
and spatial weights not at all.
"""

from braindecode_samba.plots.decisions import (
    plot_attribution,
    plot_course,
    plot_decision_pattern,
    plot_evidence,
)
from braindecode_samba.plots.interpretation import (
    BANDS,
    attribute_decision,
    decision_pattern,
    log_band_power,
    read_one_montage,
)
from braindecode_samba.plots.scalp import plot_scalp_map
from braindecode_samba.plots.spatial_weights import (
    electrode_weights,
    electrodes_of,
    network_of,
    with_spatial_start,
)
from braindecode_samba.plots.weights import (
    animate_spatial_weights,
    plot_spatial_weights,
)
from braindecode_samba.plots.windows import plot_embedding, plot_reconstruction

__all__ = [
    "BANDS",
    "animate_spatial_weights",
    "attribute_decision",
    "decision_pattern",
    "electrode_weights",
    "electrodes_of",
    "log_band_power",
    "network_of",
    "plot_attribution",
    "plot_course",
    "plot_decision_pattern",
    "plot_embedding",
    "plot_evidence",
    "plot_reconstruction",
    "plot_scalp_map",
    "plot_spatial_weights",
    "read_one_montage",
    "with_spatial_start",
]
