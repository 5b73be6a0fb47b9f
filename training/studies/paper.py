"""The paper's own figures, in percent, where its text has them: to stand beside ours on IEMOCAP."""

WAV2VEC2, HUBERT, WAVLM = "iemocap-wav2vec2-base", "iemocap-hubert-base", "iemocap-wavlm-base"
OURS = {WAV2VEC2: (76.64, 75.84), HUBERT: (76.97, 75.88), WAVLM: (77.74, 76.33)}  # UA and WA, the tables' last rows
MEAN = "mean of the three encoders"  # of the rows whose single cells the text has lost
MEASURES = ("cer", "wer", "gender", "style", "ua", "wa")
TABLE_3 = {
    WAV2VEC2: ((14.49, 35.78, 97.91, 84.75, 75.59, 74.66), (13.81, 33.64, 98.46, 85.20, 76.64, 75.84)),
    HUBERT: ((21.03, 55.69, 97.57, 84.95, 74.97, 74.08), (13.64, 32.19, 98.32, 86.95, 76.97, 75.88)),
    WAVLM: ((17.35, 47.47, 98.07, 85.83, 75.53, 74.73), (11.56, 27.98, 98.71, 87.34, 77.74, 76.33)),
}


def _row(encoder: str, name: str, ua: float, wa: float) -> dict:
    return {"encoder": encoder, "name": name, "ua": ua, "wa": wa}


_LAST_ROWS = [_row(encoder, "ours", *figures) for encoder, figures in OURS.items()]
PAPER_TABLES = {
    "1": [_row(MEAN, "baseline", 73.03, 72.12), *_LAST_ROWS],
    "2": [
        _row(MEAN, "without both", 75.81, 74.73),
        _row(MEAN, "without co-attention", 76.25, 75.34),
        _row(MEAN, "without ARI", 76.45, 75.55),
        *_LAST_ROWS,
    ],
    "3": [
        {"encoder": encoder, "name": name, **dict(zip(MEASURES, figures, strict=True))}
        for encoder, pair in TABLE_3.items()
        for name, figures in zip(("weighted sum", "ours"), pair, strict=True)
    ],
    "4": _LAST_ROWS,
}
"""By table: rows of encoder, name and measures, as the text or what can be recovered from it says."""
