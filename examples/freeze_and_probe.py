"""What a pretrained encoder knows of emotion before any fine-tuning: a linear probe on each of its frozen layers.

Each layer's frames are averaged over the utterance, and a logistic regression on them is judged on speakers that it
has not heard. It is the first yardstick for a fine-tuned model. The best layer of this list has been picked by its
test score: do not report it as a result.

python examples/freeze_and_probe.py microsoft/wavlm-base ravdess /data/ravdess
"""

from typing import Annotated, Any

import numpy as np
import torch
import typer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from ser_meta.modeling_ser_meta import SerMetaModel, SerMetaProcessor
from ser_meta.modeling_ser_meta.audio_ser_meta import read_audio
from ser_meta.modeling_ser_meta.modules_ser_meta import masked_mean
from ser_meta.training.corpora import load_corpus


def main(
    encoder: Annotated[str, typer.Argument(help="A speech encoder: a folder, or its name on the Hub.")],
    corpus: Annotated[str, typer.Argument(help="A corpus's name, or table.")],
    root: Annotated[str, typer.Argument(help="The corpus's folder, or the table.")],
    folds: Annotated[int, typer.Option(help="Each speaker is in one of them.")] = 5,
) -> None:
    """Prints the unweighted accuracy of a linear probe on each layer of a frozen encoder."""
    dataset = load_corpus(corpus, root)
    dataset = dataset.select([row for row, label in enumerate(dataset["emotion"]) if label is not None])
    labels, speakers = list(dataset["emotion"]), list(dataset["speaker"])
    model = SerMetaModel.from_backbone_pretrained(encoder, {"emotion": {"labels": sorted(set(labels))}}).eval()
    processor = SerMetaProcessor.from_backbone_pretrained(encoder)
    embeddings = np.stack([embed(model, processor, audio) for audio in tqdm(dataset["audio"], unit="utterance")])
    for layer in range(embeddings.shape[1]):
        print(f"layer {layer + 1:2}  UA {probe(embeddings[:, layer], labels, speakers, folds):.3f}")


@torch.inference_mode()
def embed(model: SerMetaModel, processor: SerMetaProcessor, audio: Any) -> np.ndarray:
    """The mean over the frames of each layer's hidden states: `(layers, width)`."""
    rate = processor.sampling_rate
    encoded = model.encode(**processor(read_audio(audio, rate), sampling_rate=rate))
    return torch.cat([masked_mean(states, encoded.frame_mask) for states in encoded.hidden_states]).numpy()


def probe(embeddings: np.ndarray, labels: list[str], speakers: list[str], folds: int) -> float:
    """UA of a logistic regression on `(utterances, width)`, each utterance judged where its speaker was not heard."""
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    predicted = cross_val_predict(classifier, embeddings, labels, groups=speakers, cv=GroupKFold(folds))
    return balanced_accuracy_score(labels, predicted)


if __name__ == "__main__":
    typer.run(main)
