"""
Predict while an amplifier records
==================================

Read samples from the Lab Streaming Layer, which most amplifiers can send to, and print
what a saved decoder says of them::

    pip install mne-lsl
    python examples/stream_lsl.py DECODER --name AMPLIFIER --band 4 38

DECODER is a folder that ``decoder.save_pretrained`` has written, AMPLIFIER the name of
the stream; without a name the only one of type EEG is taken.  The band should be that
of the training windows.  The amplifier may have other electrodes, another rate and
another order of channels than the training recordings.

A line tells how long the recording lasts, the most probable class and its probability,
and the latency: from the last sample of the window to the prediction.

Without an amplifier, a recording can be played from another terminal::

    mne-lsl player RECORDING.edf --name AMPLIFIER
"""

import argparse
import time

import numpy as np
from mne_lsl.lsl import local_clock
from mne_lsl.stream import StreamLSL

from braindecode_samba import SAMBAClassifier, SAMBAStream

BUFFER_SECONDS = 10.0
PAUSE_SECONDS = 0.005


def connect(name, timeout):
    """Connect to an amplifier; it is asked for samples by `new_samples` alone."""
    stream = StreamLSL(BUFFER_SECONDS, name=name, stype=None if name else "EEG")
    return stream.connect(
        acquisition_delay=None, processing_flags=["clocksync"], timeout=timeout
    )


def new_samples(amplifier):
    """Volts (channels, samples) that came since the last call, and their times."""
    amplifier.acquire()
    n_new = amplifier.n_new_samples
    if n_new > amplifier.n_buffer:
        raise RuntimeError(f"{n_new} samples came at once: this computer is too slow")
    data, times = amplifier.get_data()
    # amplifiers send microvolts or volts, and say so
    to_volts = [10.0 ** channel["unit_mul"] for channel in amplifier.info["chs"]]
    first = len(times) - n_new
    return data[:, first:] * np.array(to_volts)[:, None], times[first:]


def follow(amplifier, stream, seconds):
    """Print predictions until so much was recorded; return their latencies."""
    latencies = []
    while stream.n_seen < seconds * stream.sfreq:
        samples, times = new_samples(amplifier)
        for said in stream.push(samples):
            stamp = times[-1] - (stream.n_seen - said.stop) / stream.sfreq
            latencies.append(local_clock() - stamp)
            print(
                f"{said.seconds:7.2f} s   {said.label!s:12} "
                f"{said.probabilities[said.label]:.2f}   "
                f"{1e3 * latencies[-1]:4.0f} ms",
                flush=True,
            )
        time.sleep(PAUSE_SECONDS)
    return latencies


def parse(arguments=None):
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[1])
    add = parser.add_argument
    add("decoder", help="folder of a saved SAMBAClassifier, or a name on the hub")
    add("--name", help="of the stream; by default the only one of type EEG")
    add("--band", nargs=2, type=float, help="Hz, of a causal filter; none by default")
    add("--hop", type=float, default=0.5, help="seconds between predictions")
    add("--seconds", type=float, default=float("inf"), help="how long")
    add("--half-life", type=float, help="seconds after which what is known fades")
    add("--timeout", type=float, default=10.0, help="seconds to look for the stream")
    return parser.parse_args(arguments)


def main(arguments=None):
    """Load a decoder, connect, and print."""
    options = parse(arguments)
    decoder = SAMBAClassifier.from_pretrained(options.decoder)
    amplifier = connect(options.name, options.timeout)
    try:
        stream = SAMBAStream(
            decoder,
            chs_info=amplifier.info["chs"],
            sfreq=amplifier.info["sfreq"],
            hop_seconds=options.hop,
            band=options.band,
            half_life_seconds=options.half_life,
        )
        print(
            f"{amplifier.name}: {stream.n_chans} channels at {stream.sfreq:g} Hz; "
            f"windows of {decoder.n_times_ / decoder.sfreq_:g} s, a prediction every "
            f"{options.hop:g} s, {1e3 * stream.delay_seconds:.0f} ms for resampling",
            flush=True,
        )
        latencies = follow(amplifier, stream, options.seconds)
    finally:
        amplifier.disconnect()
    if latencies:
        print(f"median latency {1e3 * np.median(latencies):.0f} ms")


if __name__ == "__main__":
    main()
