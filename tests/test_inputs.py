"""What `read_windows` accepts, what it makes of it, and what it refuses."""

import mne
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from braindecode.datasets import (
    BaseConcatDataset,
    EEGWindowsDataset,
    RawDataset,
    WindowsDataset,
    create_from_X_y,
)
from braindecode.preprocessing import create_fixed_length_windows
from hypothesis import given, settings
from hypothesis import strategies as st

from braindecode_samba import chs_info_from_names, positions_from_names
from braindecode_samba.signals import read_windows

NAMES = ["C3", "Cz", "C4", "Pz"]
SFREQ = 128.0
RNG = np.random.default_rng(0)


def signals(n=6, n_chans=4, n_times=64):
    return RNG.normal(scale=1e-5, size=(n, n_chans, n_times))


def make_raw(names=NAMES, sfreq=SFREQ, seconds=4, montage=True, kinds="eeg"):
    info = mne.create_info(list(names), sfreq, kinds)
    data = RNG.normal(scale=1e-5, size=(len(names), int(seconds * sfreq)))
    raw = mne.io.RawArray(data, info, verbose="error")
    if montage:
        places = dict(zip(names, positions_from_names(names), strict=True))
        raw.set_montage(mne.channels.make_dig_montage(places, coord_frame="head"))
    return raw


def make_epochs(**kwargs):
    return mne.make_fixed_length_epochs(
        make_raw(**kwargs), duration=0.5, preload=True, verbose="error"
    )


def make_windows(raw=None, targets=(0, 1), **kwargs):
    raws = [make_raw() if raw is None else raw for _ in targets]
    recordings = BaseConcatDataset(
        [
            RawDataset(raw, pd.Series({"label": target}), target_name="label")
            for raw, target in zip(raws, targets, strict=True)
        ]
    )
    return create_fixed_length_windows(
        recordings,
        window_size_samples=64,
        window_stride_samples=64,
        on_last_window="drop",
        preload=True,
        **kwargs,
    )


class TestArrays:
    def test_arrays_become_float32_windows(self):
        X = signals()
        windows = read_windows(X, list("aabbab"), ch_names=NAMES, sfreq=128)
        assert windows.x.dtype == np.float32
        assert np.array_equal(windows.x, X.astype(np.float32))
        assert list(windows.y) == list("aabbab")
        assert windows.names == tuple(NAMES)
        assert np.array_equal(windows.positions, positions_from_names(NAMES))
        assert windows.sfreq == SFREQ
        assert not windows.brings_positions

    @pytest.mark.parametrize(
        "convert",
        [
            np.ndarray.tolist,
            list,
            torch.from_numpy,
            np.asfortranarray,
            lambda X: X.astype(object),
            lambda X: X.astype(np.float16),
        ],
        ids=["lists", "list of arrays", "tensor", "fortran", "objects", "half"],
    )
    def test_any_array_of_numbers_is_taken(self, convert):
        X = RNG.normal(size=(3, 4, 16))
        windows = read_windows(convert(X), ch_names=NAMES, sfreq=128)
        assert windows.x.dtype == np.float32
        np.testing.assert_allclose(windows.x, X, atol=2e-3)

    def test_integers_are_taken(self):
        X = RNG.integers(-5000, 5000, size=(2, 4, 16), dtype=np.int16)
        assert np.array_equal(read_windows(X, ch_names=NAMES, sfreq=128).x, X)

    @pytest.mark.filterwarnings("error")
    def test_readonly_arrays_are_taken_without_warning(self, tmp_path):
        np.save(tmp_path / "x.npy", signals().astype(np.float32))
        X = np.load(tmp_path / "x.npy", mmap_mode="r")
        windows = read_windows(X, ch_names=NAMES, sfreq=128)
        torch.from_numpy(windows.x)  # warns of what it may not write to
        assert np.array_equal(windows.x, X)

    def test_measured_positions_come_from_chs_info(self):
        chs_info = chs_info_from_names(NAMES)
        chs_info[1]["loc"][:3] = [0.001, 0.002, 0.1]
        windows = read_windows(signals(), chs_info=chs_info, sfreq=128)
        assert np.array_equal(windows.positions[1], [0.001, 0.002, 0.1])
        described = windows.chs_info
        assert [channel["ch_name"] for channel in described] == NAMES
        assert np.array_equal(described[1]["loc"][:3], [0.001, 0.002, 0.1])

    @pytest.mark.parametrize(
        ("arguments", "needed", "not_needed"),
        [
            ({}, ["ch_names=", "chs_info=", "sfreq="], []),
            ({"ch_names": NAMES}, ["sfreq="], ["ch_names="]),
            ({"chs_info": chs_info_from_names(NAMES)}, ["sfreq="], ["ch_names="]),
            ({"sfreq": 128}, ["ch_names=", "chs_info="], ["sfreq="]),
        ],
    )
    def test_error_names_exactly_what_is_missing(self, arguments, needed, not_needed):
        with pytest.raises(ValueError, match="mne.Epochs") as error:
            read_windows(signals(), **arguments)
        assert all(word in str(error.value) for word in needed)
        assert not any(word in str(error.value) for word in not_needed)

    @pytest.mark.filterwarnings("error")
    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
    def test_broken_samples_are_refused_with_their_place(self, bad):
        X = signals()
        X[4, 2, 7] = bad
        with pytest.raises(ValueError, match="NaN or infinity.*window 4, channel 2"):
            read_windows(X, ch_names=NAMES, sfreq=128)

    @pytest.mark.parametrize(
        ("X", "kind", "words"),
        [
            (np.zeros((4, 16)), ValueError, r"\(n, channels, times\)"),
            (np.zeros(16), ValueError, r"\(n, channels, times\)"),
            (np.zeros((2, 3, 4, 16)), ValueError, r"\(n, channels, times\)"),
            (np.zeros((0, 4, 16)), ValueError, "0 sample"),
            ([], ValueError, "0 sample"),
            (np.zeros((3, 0, 16)), ValueError, "at least one"),
            (np.zeros((3, 4, 0)), ValueError, "at least one"),
            (np.zeros((3, 4, 16), complex), ValueError, "Complex"),
            (np.full((3, 4, 16), "a"), ValueError, "strings"),
            (np.full((3, 4, 16), None), ValueError, "NaN"),
            ([np.zeros((4, 16)), np.zeros((4, 17))], ValueError, "inhomogeneous"),
            (scipy.sparse.eye(4, format="csr"), TypeError, "[Ss]parse"),
            (scipy.sparse.eye(4, format="dok"), TypeError, "[Ss]parse"),
            ({"x": np.zeros((3, 4, 16))}, TypeError, "dict"),
            ("windows.fif", TypeError, "str"),
            (np.zeros((3, 5, 16)), ValueError, "5 channels and 4 names"),
        ],
    )
    def test_what_is_no_window_is_refused(self, X, kind, words):
        with pytest.raises(kind, match=words):
            read_windows(X, ch_names=NAMES, sfreq=128)

    @pytest.mark.parametrize(
        ("arguments", "kind", "words"),
        [
            ({"ch_names": ["C3", "Cz", "C4", "Q9"]}, ValueError, "'Q9'"),
            ({"ch_names": ["C3", "Cz", "C4", "C3"]}, ValueError, "twice: 'C3'"),
            ({"ch_names": "C3"}, TypeError, "list of str"),
            ({"ch_names": [1, 2, 3, 4]}, TypeError, "str"),
            ({"ch_names": NAMES, "sfreq": 0}, ValueError, "sfreq=0"),
            ({"ch_names": NAMES, "sfreq": np.nan}, ValueError, "sfreq=nan"),
            ({"ch_names": NAMES, "sfreq": "128"}, ValueError, "sfreq='128'"),
            ({"ch_names": NAMES, "sfreq": True}, ValueError, "sfreq=True"),
            (
                {"ch_names": NAMES[::-1], "chs_info": chs_info_from_names(NAMES)},
                ValueError,
                "pass one of them",
            ),
            ({"chs_info": "C3"}, TypeError, "chs_info"),
        ],
    )
    def test_wrong_descriptions_are_refused(self, arguments, kind, words):
        with pytest.raises(kind, match=words):
            read_windows(signals(), **{"sfreq": 128, **arguments})

    def test_millimetres_are_refused(self):
        chs_info = chs_info_from_names(NAMES)
        for channel in chs_info:
            channel["loc"][:3] *= 1000
        with pytest.raises(ValueError, match="metres"):
            read_windows(signals(), chs_info=chs_info, sfreq=128)

    def test_nan_positions_of_unknown_names_are_refused(self):
        chs_info = [{"ch_name": f"E{i}", "loc": np.full(12, np.nan)} for i in range(4)]
        with pytest.raises(ValueError, match="'E0', 'E1', 'E2', 'E3'"):
            read_windows(signals(), chs_info=chs_info, sfreq=128)

    def test_lengths_of_X_and_y_must_agree(self):
        with pytest.raises(ValueError, match="inconsistent"):
            read_windows(signals(), [0, 1], ch_names=NAMES, sfreq=128)


class TestEpochs:
    def test_epochs_bring_everything(self):
        epochs = make_epochs()
        windows = read_windows(epochs)
        np.testing.assert_allclose(windows.x, epochs.get_data(copy=True), rtol=1e-6)
        assert windows.names == tuple(NAMES)
        np.testing.assert_allclose(windows.positions, positions_from_names(NAMES))
        assert windows.sfreq == SFREQ
        assert windows.y is None
        assert windows.brings_positions

    def test_only_eeg_channels_are_used_and_bad_ones_left_out(self):
        epochs = make_epochs(
            names=["EOG", *NAMES, "STI"],
            kinds=["eog", *["eeg"] * 4, "stim"],
            montage=False,
        )
        epochs.info["bads"] = ["Cz"]
        windows = read_windows(epochs)
        assert windows.names == ("C3", "C4", "Pz")
        assert windows.bads == ("Cz",)
        expected = epochs.get_data(picks=["C3", "C4", "Pz"], copy=True)
        np.testing.assert_allclose(windows.x, expected, rtol=1e-6)
        everything = read_windows(epochs, exclude=())
        assert everything.names == tuple(NAMES)
        assert everything.bads == ()
        assert read_windows(epochs, exclude=["Pz"]).names == ("C3", "Cz", "C4")
        epochs.info["bads"] = NAMES
        with pytest.raises(ValueError, match=r"exclude=\(\) to keep"):
            read_windows(epochs)

    def test_epochs_without_montage_are_placed_by_name(self):
        windows = read_windows(make_epochs(montage=False))
        np.testing.assert_allclose(windows.positions, positions_from_names(NAMES))

    def test_epochs_without_places_are_refused(self):
        with pytest.raises(ValueError, match="'E1'"):
            read_windows(make_epochs(names=["E1", "E2"], montage=False))

    def test_epochs_without_eeg_are_refused(self):
        epochs = make_epochs(names=["MEG 1", "STI"], montage=False, kinds="stim")
        with pytest.raises(ValueError, match="set_channel_types"):
            read_windows(epochs)

    def test_lists_of_single_epochs_equal_the_epochs(self):
        epochs = make_epochs()
        listed = read_windows([epochs[i] for i in range(len(epochs))])
        assert np.array_equal(listed.x, read_windows(epochs).x)
        assert listed.positions.shape == (4, 3)
        assert listed.ch_mask is None

    def test_epochs_on_disk_are_read_in_silence(self, tmp_path, capfd):
        make_epochs().save(tmp_path / "x-epo.fif", verbose="error")
        epochs = mne.read_epochs(tmp_path / "x-epo.fif", preload=False, verbose="error")
        capfd.readouterr()
        assert len(read_windows(epochs).x) == 8
        assert capfd.readouterr() == ("", "")
        assert not epochs.preload

    def test_raw_is_refused_with_the_way_to_windows(self):
        for raw in (make_raw(), RawDataset(make_raw()), [make_raw()]):
            with pytest.raises(TypeError, match="mne.Epochs"):
                read_windows(raw)
        with pytest.raises(TypeError, match="make_fixed_length_epochs"):
            read_windows(make_raw())

    def test_agreeing_arguments_are_taken(self):
        windows = read_windows(make_epochs(), ch_names=NAMES[::-1], sfreq=128)
        assert windows.names == tuple(NAMES)

    def test_chs_info_places_epochs_that_have_no_places(self):
        names = ["E1", "E2", "E3", "E4"]
        chs_info = chs_info_from_names(NAMES)
        for name, channel in zip(names, chs_info, strict=True):
            channel["ch_name"] = name
        epochs = make_epochs(names=names, montage=False)
        windows = read_windows(epochs, chs_info=chs_info[::-1])
        assert windows.names == tuple(names)
        np.testing.assert_allclose(windows.positions, positions_from_names(NAMES))

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ({"sfreq": 250}, "128.0 Hz.*250"),
            ({"ch_names": ["C3", "Cz", "C4", "Oz"]}, "'Oz'"),
            ({"ch_names": NAMES[:3]}, "'Pz'"),
            ({"chs_info": chs_info_from_names([*NAMES, "Oz"])}, "'Oz'"),
        ],
    )
    def test_contradictions_are_refused(self, arguments, words):
        with pytest.raises(ValueError, match=words):
            read_windows(make_epochs(), **arguments)

    def test_contradicting_places_are_refused(self):
        chs_info = chs_info_from_names(NAMES)
        chs_info[2]["loc"][0] += 0.002
        with pytest.raises(ValueError, match="'C4' more than 1 mm"):
            read_windows(make_epochs(), chs_info=chs_info)

    def test_no_epochs_are_refused(self):
        with pytest.raises(ValueError, match="no windows"):
            read_windows(make_epochs()[:0])


class TestBraindecodeWindows:
    @pytest.mark.parametrize("use_mne_epochs", [False, True])
    def test_windows_bring_everything_and_their_targets(self, use_mne_epochs):
        windows = make_windows(targets=(3, 7), use_mne_epochs=use_mne_epochs)
        kind = WindowsDataset if use_mne_epochs else EEGWindowsDataset
        assert isinstance(windows.datasets[0], kind)
        read = read_windows(windows)
        assert read.x.shape == (16, 4, 64)
        assert np.array_equal(read.x[9], windows[9][0])
        assert list(read.y) == [3] * 8 + [7] * 8
        np.testing.assert_allclose(read.positions, positions_from_names(NAMES))
        assert read.sfreq == SFREQ
        single = read_windows(windows.datasets[1])
        assert np.array_equal(single.x, read.x[8:])

    def test_given_targets_win(self):
        read = read_windows(make_windows(), np.arange(16))
        assert np.array_equal(read.y, np.arange(16))

    def test_target_transform_is_applied(self):
        windows = make_windows(targets=(3, 7))
        windows.target_transform = lambda target: f"label {target}"
        assert set(read_windows(windows).y) == {"label 3", "label 7"}

    def test_positions_in_the_items_do_no_harm(self):
        windows = make_windows()
        windows.set_return_ch_pos(True)
        assert read_windows(windows).x.shape == (16, 4, 64)

    def test_targets_in_misc_channels_are_no_signals(self):
        names = ["Cz", "angle", "Pz"]
        raw = make_raw(names=names, kinds=["eeg", "misc", "eeg"], montage=False)
        metadata = pd.DataFrame(
            {
                "i_window_in_trial": [0, 0],
                "i_start_in_trial": [0, 64],
                "i_stop_in_trial": [64, 128],
            }
        )
        windows = EEGWindowsDataset(raw, metadata, targets_from="channels")
        read = read_windows(windows)
        assert read.names == ("Cz", "Pz")
        np.testing.assert_allclose(read.x[1], raw.get_data()[[0, 2], 64:128], rtol=1e-6)
        np.testing.assert_allclose(
            read.y, raw.get_data()[1, [63, 127]][:, None], rtol=1e-6
        )

    @pytest.mark.filterwarnings("ignore:.drop_last_window.:DeprecationWarning")
    def test_windows_from_arrays_are_placed_by_name(self):
        X = signals(n_times=64)
        windows = create_from_X_y(
            X, [0, 1] * 3, drop_last_window=False, sfreq=128, ch_names=NAMES
        )
        read = read_windows(windows)
        assert np.array_equal(read.x, X.astype(np.float32))
        np.testing.assert_allclose(read.positions, positions_from_names(NAMES))

    @pytest.mark.filterwarnings("ignore:.drop_last_window.:DeprecationWarning")
    def test_windows_from_arrays_without_names_are_refused(self):
        windows = create_from_X_y(signals(), [0] * 6, drop_last_window=False, sfreq=128)
        with pytest.raises(ValueError, match="'0', '1', '2', '3'"):
            read_windows(windows)

    def test_uncut_recordings_are_refused(self):
        with pytest.raises(TypeError, match="create_fixed_length_windows"):
            read_windows(BaseConcatDataset([RawDataset(make_raw())]))

    def test_what_splitters_make_of_data_sets_is_refused(self):
        windows = make_windows()
        with pytest.raises(TypeError, match="list of tuple"):
            read_windows([windows[0], windows[1]], ch_names=NAMES, sfreq=128)
        with pytest.raises(TypeError, match="Subset"):
            read_windows(torch.utils.data.Subset(windows, [0]))

    def test_transforms_that_drop_channels_are_refused(self):
        windows = make_windows()
        windows.transform = lambda x: x[:2]
        with pytest.raises(ValueError, match="transform"):
            read_windows(windows)

    def test_windows_of_different_lengths_are_refused(self):
        metadata = make_windows().datasets[0].metadata.copy()
        metadata.loc[0, "i_stop_in_trial"] = 63
        windows = EEGWindowsDataset(make_raw(), metadata)
        with pytest.raises(ValueError, match="63 and 64 samples"):
            read_windows(windows)


class TestSeveralMontages:
    def test_recordings_are_filled_up_and_masked(self):
        few, many = make_epochs(names=["Oz", "Cz"]), make_epochs()
        windows = read_windows([few, many])
        assert windows.x.shape == (16, 4, 64)
        assert windows.names == ()
        assert windows.chs_info is None
        assert np.array_equal(windows.ch_mask[:8], [[True, True, False, False]] * 8)
        assert windows.ch_mask[8:].all()
        assert not windows.x[:8, 2:].any()
        np.testing.assert_allclose(
            windows.positions[0, :2], positions_from_names(["Oz", "Cz"])
        )

    def test_other_orders_keep_their_own_positions(self):
        windows = read_windows([make_epochs(), make_epochs(names=NAMES[::-1])])
        assert windows.ch_mask is None
        np.testing.assert_allclose(windows.positions[0], windows.positions[-1][::-1])

    def test_braindecode_recordings_may_differ(self):
        parts = [make_windows(make_raw(["Cz", "Pz", "Oz"]), (0,)), make_windows()]
        windows = read_windows(BaseConcatDataset(parts))
        assert windows.x.shape == (24, 4, 64)
        assert windows.ch_mask.sum() == 8 * 3 + 16 * 4

    def test_lengths_must_agree(self):
        longer = mne.make_fixed_length_epochs(make_raw(), duration=1.0, verbose="error")
        with pytest.raises(ValueError, match="64 and 128 samples"):
            read_windows([make_epochs(), longer])

    @pytest.mark.parametrize("sfreq", [100.0, 250.0, 512.0])
    def test_rates_become_that_of_the_first(self, sfreq):
        slow = make_raw(seconds=8).filter(None, 30, verbose="error")
        fast = slow.copy().resample(sfreq, verbose="error")
        cut = [
            mne.Epochs(
                raw,
                [[int(raw.info["sfreq"] * s), 0, 1] for s in (2, 4)],
                tmin=0,
                tmax=1.5,
                baseline=None,
                preload=True,
                verbose="error",
            )
            for raw in (slow, fast)
        ]
        windows = read_windows(cut)
        assert windows.sfreq == SFREQ
        # the last sample counts at each rate, so that lengths differ by rounding
        assert windows.x.shape[-1] in (192, 193)
        inner = slice(20, -20)
        np.testing.assert_allclose(
            windows.x[2:, :, inner], windows.x[:2, :, inner], atol=2e-6
        )

    def test_groups_are_taken_from_what_the_data_say(self):
        first, second = make_epochs(), make_epochs()
        assert read_windows(first).groups is None
        listed = read_windows([first, second])
        assert listed.groups.tolist() == ["item 0"] * 8 + ["item 1"] * 8
        assert listed.subjects is None
        table = pd.DataFrame({"subject": [3] * 8, "session": ["a", "b"] * 4})
        first.metadata = table
        windows = read_windows(first)
        assert windows.groups.tolist() == ["3/a", "3/b"] * 4
        assert windows.subjects.tolist() == [3] * 8
        first.metadata = table.assign(recording=np.arange(8) // 4)
        assert read_windows(first).groups.tolist() == [0] * 4 + [1] * 4
        told = read_windows(first, groups=list("aaaabbbb"), subjects=[1] * 8)
        assert told.groups.tolist() == list("aaaabbbb")
        assert told.subjects.tolist() == [1] * 8
        # scikit-learn takes Epochs apart
        singles = read_windows([first[i] for i in range(8)])
        assert singles.groups.tolist() == [0] * 4 + [1] * 4

    def test_descriptions_of_braindecode_name_recordings(self):
        windows = make_windows(targets=(0, 1))
        for dataset, subject in zip(windows.datasets, (7, 8), strict=True):
            dataset.set_description({"subject": subject, "session": "x"})
        read = read_windows(windows)
        assert read.groups.tolist() == ["7/x"] * 8 + ["8/x"] * 8
        assert read.subjects.tolist() == [7] * 8 + [8] * 8

    @pytest.mark.parametrize(
        ("named", "words"),
        [
            ({"groups": [1, 2]}, "groups has shape"),
            ({"groups": [1.0] * 7 + [np.nan]}, "groups are missing for 1 windows"),
            ({"subjects": ["a"] * 7 + [None]}, "subjects are missing"),
            ({"subjects": np.zeros((8, 1))}, "subjects has shape"),
        ],
    )
    def test_names_with_gaps_are_refused(self, named, words):
        with pytest.raises(ValueError, match=words):
            read_windows(make_epochs(), **named)

    @settings(max_examples=20, deadline=None)
    @given(
        st.lists(
            st.lists(
                st.sampled_from([*NAMES, "Oz", "Fz", "T7"]), min_size=1, unique=True
            ),
            min_size=1,
            max_size=4,
        )
    )
    def test_every_sample_survives_with_its_place(self, montages):
        infos = [mne.create_info(names, SFREQ, "eeg") for names in montages]
        parts = [
            mne.EpochsArray(signals(2, len(names), 8), info, verbose="error")
            for names, info in zip(montages, infos, strict=True)
        ]
        windows = read_windows(parts)
        for row, (names, part) in enumerate(zip(montages, parts, strict=True)):
            mine = windows.select(slice(2 * row, 2 * row + 2))
            present = slice(len(names))
            expected = part.get_data(copy=True).astype(np.float32)
            assert np.array_equal(mine.x[:, present], expected)
            places = np.broadcast_to(mine.positions, (2, mine.x.shape[1], 3))
            np.testing.assert_allclose(places[1, present], positions_from_names(names))
            if mine.ch_mask is not None:
                assert np.array_equal(mine.ch_mask.sum(axis=1), [len(names)] * 2)
