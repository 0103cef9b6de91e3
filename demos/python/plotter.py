#!/usr/bin/env python3
"""plotter.py SEGMENT/STREAM [PICTURE]: plot the last 100 samples of a stream as they come, with
matplotlib, until the window is closed; with PICTURE, into a file (.png, .svg, .pdf), and end."""
import sys

import matplotlib

if len(sys.argv) > 2:
    matplotlib.use("Agg")  # no window

import matplotlib.pyplot as plt
import numpy as np

import shmkit

WINDOW = 100


def main(name, picture=None):
    stream = shmkit.Stream(name, create=False)
    reader = stream.reader()
    figure, axes = plt.subplots(figsize=(10, 5))
    (line,) = axes.plot([])
    axes.set_xlim(0, WINDOW)
    while plt.fignum_exists(figure.number):
        samples = np.asarray(reader.latest(WINDOW), dtype="d")
        line.set_data(np.arange(len(samples)), samples)
        if len(samples):
            axes.set_ylim(min(samples.min(), 0), max(samples.max(), 1))
        if picture and len(samples) == WINDOW:
            figure.savefig(picture)
            return print(f"{picture}: {WINDOW} samples")
        plt.pause(0.02)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]) if len(sys.argv) in (2, 3) else __doc__)
