"""The order in which the gallery is read; what is not named here comes last."""

from sphinx_gallery.sorting import _SortKey

__all__ = ["ReadingOrder"]

_FIRST = (
    "plot_quick_start.py",
    "plot_fitted_decoder.py",
    "plot_moabb_evaluation.py",
    "plot_p300.py",
    "plot_ssvep.py",
    "plot_grid_search.py",
    "plot_regression.py",
    "plot_braindecode_trialwise.py",
    "plot_pretrain.py",
    "plot_linear_probe.py",
    "plot_finetune.py",
    "plot_mixed_montages.py",
    "plot_long_recording.py",
    "plot_interpretation.py",
    "plot_cluster.py",
    "plot_cross_subject_splitter.py",
    "plot_open_eeg_bench.py",
)


class ReadingOrder(_SortKey):
    """Sort key of sphinx-gallery: named examples in their order, others by name."""

    def __call__(self, filename: str) -> tuple[int, str]:
        """Place of an example."""
        place = _FIRST.index(filename) if filename in _FIRST else len(_FIRST)
        return place, filename
