#!/usr/bin/env python3
"""Build the noisy clips in samples/ from openly licensed Debian packages.

The voices are real recordings taken from four Debian packages, the surface
noise of one clip from a fifth; every other noise is synthesized here from a
fixed seed. Authors and licenses are listed in samples/README.md.

Packages (Debian 12 "bookworm", all in main):

    flare-game                   4 spoken lines, 44.1 kHz     -> office-fan
    unknown-horizons             2 spoken lines, 44.1 kHz     -> keyboard, street
    asterisk-core-sounds-en-wav  1 telephone prompt, 8 kHz    -> telephone
    pocketsphinx-testdata        1 audiobook sentence, 16 kHz -> quiet
    sonic-pi-samples             record surface noise         -> quiet

They need not be installed. Download and unpack them into a folder:

    apt-get download flare-game unknown-horizons asterisk-core-sounds-en-wav \\
        pocketsphinx-testdata sonic-pi-samples
    for deb in *.deb; do dpkg-deb -x "$deb" sounds; done

and run (needs numpy, scipy and soundfile):

    python3 scripts/make_samples.py sounds             # writes samples/
    python3 scripts/make_samples.py sounds --out /tmp/s

If the packages are installed, give / as the folder. The noise comes from
numpy's frozen RandomState stream, so a rebuild gives the same samples; another
version of numpy, scipy or libsndfile can at most move a last bit or change how
a FLAC file is packed.

Levels. The level of speech is its mean power over the 20 ms blocks that are
within 35 dB of the loudest block, so pauses do not count; the level of noise
is its mean power over the whole clip. The signal-to-noise ratio is the
difference of the two, unweighted. A table of what was measured is printed.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import soundfile as sf
from scipy.signal import butter, resample_poly, sosfilt, sosfiltfilt

FLARE = "usr/share/games/flare/mods/fantasycore/soundfx/npcs/female_merchant_%02d.ogg"
HORIZONS = "usr/share/unknown-horizons/content/audio/voice/%s/0/new_world/%d.ogg"
ASTERISK = "usr/share/asterisk/sounds/en_US_f_Allison/queue-youarenext.wav"
LIBRIVOX = ("usr/share/pocketsphinx/test/data/librivox/"
            "sense_and_sensibility_01_austen_64kb-0890.wav")
VINYL = "usr/share/sonic-pi/samples/vinyl_hiss.flac"


# ---------------------------------------------------------------- levels

def db(power):
    return 10.0 * np.log10(power + 1e-20)


def gain(decibels):
    return 10.0 ** (decibels / 20.0)


def noise_level(x):
    """Mean power in dBFS (full-scale square wave = 0)."""
    return db(np.mean(np.square(x)))


def speech_level(x, rate):
    """Mean power in dBFS over the 20 ms blocks within 35 dB of the loudest."""
    n = rate // 50
    blocks = x[: len(x) // n * n].reshape(-1, n)
    power = np.mean(np.square(blocks), axis=1)
    return db(np.mean(power[power > power.max() * 10 ** -3.5]))


# ---------------------------------------------------------------- sources

def load(root, path, rate, start, stop, channel=0):
    """One channel of a file, free of DC, cut to start..stop seconds and resampled."""
    x, own = sf.read(root / path, always_2d=True)
    x = sosfiltfilt(butter(2, 30, "highpass", fs=own, output="sos"), x[:, channel])
    x = x[int(start * own): int(stop * own)]
    if own != rate:
        g = np.gcd(own, rate)
        x = resample_poly(x, rate // g, own // g)
    return x


def fade(x, rate, seconds=0.015):
    n = int(seconds * rate)
    ramp = np.sin(np.linspace(0, np.pi / 2, n)) ** 2
    x = x.copy()
    x[:n] *= ramp
    x[-n:] *= ramp[::-1]
    return x


def place(parts, seconds, rate, level):
    """Puts (start in s, line) parts on a silent track, each at `level` dBFS."""
    track = np.zeros(int(seconds * rate))
    for start, line in parts:
        line = fade(line, rate)
        at = int(start * rate)
        track[at: at + len(line)] += line * gain(level - speech_level(line, rate))
    return track


# ---------------------------------------------------------------- noises

def shaped(rng, n, rate, points):
    """Gaussian noise whose spectrum follows (Hz, dB) points, in log frequency."""
    f = np.fft.rfftfreq(n, 1.0 / rate)
    hz, decibels = np.array(points, float).T
    curve = np.interp(np.log10(np.maximum(f, 1.0)), np.log10(hz), decibels)
    spectrum = np.fft.rfft(rng.standard_normal(n)) * gain(curve)
    spectrum[f < 15] = 0
    x = np.fft.irfft(spectrum, n)
    return x / np.sqrt(np.mean(x ** 2))


def slow(rng, n, rate, hz):
    """A slow random curve with unit variance and bandwidth `hz`."""
    x = sosfiltfilt(butter(2, hz, fs=100, output="sos"), rng.standard_normal(n * 100 // rate + 400))
    x = np.interp(np.arange(n) * 100.0 / rate, np.arange(len(x) - 200), x[200:])
    return x / np.std(x)


def fan(rng, n, rate):
    """Desk fan: motor and air noise, blade tone at 118 Hz with harmonics."""
    air = shaped(rng, n, rate, [
        (20, -16), (60, -2), (120, 0), (300, -1), (700, -5), (1500, -11),
        (3000, -18), (6000, -26), (12000, -36), (20000, -46)])
    air *= 1.0 + 0.05 * slow(rng, n, rate, 1.0)
    speed = 118.0 * (1.0 + 0.003 * slow(rng, n, rate, 0.5))
    phase = 2 * np.pi * np.cumsum(speed) / rate
    tone = sum(a * np.sin(k * phase + rng.uniform(0, 2 * np.pi))
               for k, a in [(1, 0.35), (2, 0.22), (3, 0.12), (4, 0.08), (6, 0.04)])
    rotation = 1.0 + 0.06 * np.sin(phase / 5.0)      # one of five blades is heavier
    return (air + tone) * rotation


def hum(rng, n, rate):
    """50 Hz mains hum with harmonics and a low noise floor."""
    t = np.arange(n) / rate
    phase = 2 * np.pi * 50.0 * t + 0.02 * np.cumsum(slow(rng, n, rate, 1.0)) / rate
    x = sum(a * np.sin(k * phase + rng.uniform(0, 2 * np.pi))
            for k, a in [(1, 0.7), (2, 1.0), (3, 0.45), (4, 0.35), (5, 0.2), (6, 0.22),
                         (8, 0.12), (10, 0.08), (12, 0.06), (14, 0.04), (18, 0.03)])
    floor = shaped(rng, n, rate, [(20, 0), (200, 0), (2000, -12), (20000, -32)])
    return x + 0.35 * floor


def keys(rng, n, rate):
    """Typing on a mechanical keyboard: a click down and a softer click up."""
    out = np.zeros(n + rate)

    def click(at, strength, body):
        m = int(0.05 * rate)
        t = np.arange(m) / rate
        burst = rng.standard_normal(m) * np.exp(-t / 0.0025)
        burst = sosfilt(butter(2, [1200, 9000], "bandpass", fs=rate, output="sos"), burst)
        ring = sum(a * np.sin(2 * np.pi * f * rng.uniform(0.94, 1.06) * t) * np.exp(-t / d)
                   for f, a, d in [(2600, 0.5, 0.004), (4300, 0.35, 0.003), (6900, 0.2, 0.002)])
        thud = np.sin(2 * np.pi * rng.uniform(190, 260) * t) * np.exp(-t / 0.012)
        i = int(at * rate)
        out[i: i + m] += strength * (burst + ring + body * thud)

    at = 0.15
    while at < n / rate - 0.1:
        for _ in range(rng.randint(3, 9)):           # one word
            if at > n / rate - 0.1:
                break
            strength = rng.uniform(0.6, 1.1)
            click(at, strength, 0.9)
            click(at + rng.uniform(0.07, 0.11), 0.4 * strength, 0.2)
            at += rng.uniform(0.11, 0.21)
        at += rng.uniform(0.15, 0.45)
    return sosfilt(butter(2, 60, "highpass", fs=rate, output="sos"), out)[:n]


def street(rng, n, rate):
    """Two channels of traffic: far rumble in each, one car passing left to right."""
    far = [(20, 0), (60, 2), (120, 0), (300, -6), (800, -14), (2000, -23),
           (5000, -35), (10000, -48), (22000, -66)]
    near = [(20, -6), (80, 0), (200, -3), (700, -3), (1500, -6), (3000, -14),
            (6000, -25), (12000, -40), (22000, -60)]
    t = np.arange(n) / rate
    mid = 0.55 * n / rate
    left = np.exp(-0.5 * ((t - mid + 0.25) / 0.9) ** 2)
    right = np.exp(-0.5 * ((t - mid - 0.25) / 0.9) ** 2)
    swell = 1.0 + 0.15 * slow(rng, n, rate, 0.7)
    return np.stack([shaped(rng, n, rate, far) * swell + 0.9 * e * shaped(rng, n, rate, near)
                     for e in (left, right)], axis=1)


# ---------------------------------------------------------------- clips
#
# Each returns (rate, depth, speech, noise); both are added and written as is.

def office_fan(root):
    rate, seconds, level = 48000, 8.9, -26.0
    lines = [(1.20, 5, 0.12, 1.46),     # "Looking to buy something?"
             (2.85, 6, 0.20, 1.54),     # "How can I help you?"
             (5.20, 8, 0.28, 1.50),     # "Take a look around."
             (6.72, 7, 0.20, 1.28)]     # "Let's trade."
    speech = place([(at, load(root, FLARE % k, rate, a, b)) for at, k, a, b in lines],
                   seconds, rate, level)
    noise = fan(np.random.RandomState(101), len(speech), rate)
    noise *= gain(speech_level(speech, rate) - 5.0 - noise_level(noise))
    return rate, "PCM_16", speech, noise


def keyboard(root):
    rate, seconds, level = 48000, 5.2, -24.0
    speech = place([(0.8, load(root, HORIZONS % ("en", 2), rate, 0.22, 3.64))],
                   seconds, rate, level)
    rng = np.random.RandomState(202)
    buzz, clicks = hum(rng, len(speech), rate), keys(rng, len(speech), rate)
    own = speech_level(speech, rate)
    noise = (buzz * gain(own - 14.0 - noise_level(buzz))
             + clicks * gain(own - 13.0 - noise_level(clicks)))
    return rate, "PCM_16", speech, noise


def street_clip(root):
    rate, seconds, level = 44100, 4.8, -25.0
    speech = place([(0.5, load(root, HORIZONS % ("de", 3), rate, 0.16, 4.06))],
                   seconds, rate, level)
    pan = np.array([gain(1.3), gain(-1.7)])          # 3 dB towards the left
    noise = street(np.random.RandomState(303), len(speech), rate)
    speech = speech[:, None] * pan
    both = np.mean([speech_level(speech[:, c], rate) for c in (0, 1)])
    noise *= gain(both - 6.0 - noise_level(noise))
    return rate, "PCM_24", speech, noise


def telephone(root):
    rate, seconds, level = 8000, 6.4, -20.0
    speech = place([(0.5, load(root, ASTERISK, rate, 0.04, 5.30))], seconds, rate, level)
    rng = np.random.RandomState(404)
    noise = shaped(rng, len(speech), rate, [(20, -3), (300, 0), (3400, 2), (4000, 2)])
    line = butter(4, [250, 3500], "bandpass", fs=rate, output="sos")
    speech, noise = sosfilt(line, speech), sosfilt(line, noise)
    speech *= gain(level - speech_level(speech, rate))
    noise *= gain(level - 5.0 - noise_level(noise))
    return rate, "PCM_16", speech, noise


def quiet(root):
    rate, seconds, level = 16000, 6.2, -45.0
    speech = place([(0.5, load(root, LIBRIVOX, rate, 0.10, 5.26))], seconds, rate, level)
    noise = load(root, VINYL, rate, 0.5, 0.5 + seconds)[: len(speech)]
    noise *= gain(level - 15.0 - noise_level(noise))
    return rate, "PCM_16", speech, noise


CLIPS = [("office-fan.wav", office_fan), ("keyboard.wav", keyboard),
         ("street.flac", street_clip), ("telephone.wav", telephone), ("quiet.wav", quiet)]


def main():
    parser = argparse.ArgumentParser(description="Build the clips in samples/.")
    parser.add_argument("root", type=Path, help="folder of the unpacked Debian packages")
    parser.add_argument("--out", type=Path,
                        default=Path(__file__).resolve().parent.parent / "samples")
    args = parser.parse_args()
    missing = [p for p in [FLARE % 5, HORIZONS % ("en", 2), ASTERISK, LIBRIVOX, VINYL]
               if not (args.root / p).is_file()]
    if missing:
        sys.exit("not found under %s:\n  %s\nSee the top of this script for the packages."
                 % (args.root, "\n  ".join(missing)))
    args.out.mkdir(parents=True, exist_ok=True)

    print("%-22s %6s %2s %5s %7s %8s %8s %6s %6s %8s" % (
        "clip", "rate", "ch", "depth", "seconds", "speech", "noise", "SNR", "peak", "bytes"))
    for name, build in CLIPS:
        rate, depth, speech, noise = build(args.root)
        written = [(name, speech + noise)]
        if name == "office-fan.wav":
            written.append(("office-fan.clean.flac", speech))
        for file, x in written:
            peak = np.max(np.abs(x))
            assert peak < 0.99, "%s would clip" % file
            sf.write(args.out / file, x, rate, subtype=depth)
            s2 = speech.reshape(len(speech), -1)
            own = np.mean([speech_level(c, rate) for c in s2.T])
            hiss = noise_level(noise) if file == name else float("nan")
            print("%-22s %6d %2d %5s %7.2f %8.1f %8.1f %6.1f %6.1f %8d" % (
                file, rate, s2.shape[1], depth[4:], len(x) / rate, own, hiss, own - hiss,
                20 * np.log10(peak), (args.out / file).stat().st_size))


if __name__ == "__main__":
    main()
