"""The front end: perfect reconstruction, bands that add up, features without a level."""

import numpy as np
import torch

from quietwire_train.frontend import Analysis, FrontEnd


def speech_like(seconds: float = 1.0) -> torch.Tensor:
    time_s = torch.arange(round(seconds * 48000)) / 48000
    syllables = torch.sin(2 * torch.pi * 3 * time_s).clamp_min(0)
    voice = sum(torch.sin(2 * torch.pi * 140 * h * time_s) / h for h in range(1, 20))
    noise = torch.randn(len(time_s), generator=torch.Generator().manual_seed(1))
    return (0.1 * syllables * voice + 0.01 * noise)[None].float()


def test_synthesis_gives_the_input_back_one_hop_later() -> None:
    front, wave = FrontEnd(), speech_like()
    analysis = Analysis(front)
    out = analysis.synthesis(analysis.spectrum(wave))
    torch.testing.assert_close(out[:, front.hop :], wave[:, : -front.hop], atol=1e-5, rtol=0)


def test_bands_share_out_every_bin() -> None:
    front = FrontEnd()
    matrix = front.band_matrix()
    np.testing.assert_allclose(matrix.sum(0), 1.0, atol=1e-6)
    assert front.centers[0] == 0 and front.centers[-1] == front.bins - 1
    assert np.all(np.diff(front.centers) > 0)


def test_power_scale_gives_the_mean_square() -> None:
    front = FrontEnd()
    tone = torch.sin(2 * torch.pi * 1000 * torch.arange(9600) / 48000)[None]
    spectrum = Analysis(front).spectrum(tone)[0, 5]
    power = spectrum.abs().square().sum() * front.power_scale
    assert abs(power.item() - 0.5) < 1e-3


def test_features_do_not_depend_on_the_level() -> None:
    analysis, wave = Analysis(FrontEnd()), speech_like()
    reference = analysis.features(analysis.spectrum(wave))
    for gain_db in (-45, -30, 10):
        scaled = analysis.features(analysis.spectrum(wave * 10 ** (gain_db / 20)))
        torch.testing.assert_close(scaled, reference, atol=2e-3, rtol=0)


def test_features_stay_in_their_range_on_silence_and_full_scale() -> None:
    front = FrontEnd()
    analysis = Analysis(front)
    for wave in (torch.zeros(1, 4800), torch.ones(1, 4800), torch.randn(1, 4800) * 1e-20):
        features = analysis.features(analysis.spectrum(wave))
        assert torch.isfinite(features).all()
        bands = features[..., : front.bands]
        assert bands.min() >= front.range_low_db / front.range_step_db + front.range_offset - 1e-6
        assert features[..., front.bands :].abs().max() <= 1 + 1e-5


def test_phase_advance_gives_the_detuning_of_a_tone() -> None:
    front = FrontEnd()
    analysis = Analysis(front)
    for offset_hz in (-20.0, 0.0, 12.5):
        tone = torch.sin(2 * torch.pi * (1000 + offset_hz) * torch.arange(48000) / 48000)[None]
        features = analysis.features(analysis.spectrum(tone))[0, 50, front.bands :]
        bin_1000 = 1000 // 50 - 1
        angle = torch.atan2(features[front.phase_bins + bin_1000], features[bin_1000])
        assert abs(angle.item() - 2 * np.pi * offset_hz * front.hop / 48000) < 0.02
