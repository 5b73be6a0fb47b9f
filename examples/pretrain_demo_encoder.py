"""Makes the demo's encoder: a small wav2vec2, trained from nothing on synthetic voices that the demo never uses.

It learns what is said (CTC on characters) and who speaks in which style; no emotion is shown to it. The result is what
`ser_meta.training` ships as `demo-encoder`.
"""

import tempfile
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from datasets import Dataset
from transformers import TrainingArguments, Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model, set_seed

from ser_meta.modeling_ser_meta import SerMetaConfig, SerMetaModel, SerMetaProcessor
from ser_meta.modeling_ser_meta.processing_ser_meta import character_tokenizer
from ser_meta.training.batches.collator import SpeechCollator
from ser_meta.training.corpora import load_corpus
from ser_meta.training.learning.trainer import SerMetaTrainer
from ser_meta.training.measures.metrics import evaluate_predictions
from ser_meta.training.planning.durations import recording_durations
from ser_meta.training.runs.judging import predict_dataset

# Characters matter most; the cross entropy of 400 speakers is ten times that of two genders.
LOSS_WEIGHTS = {"gender": 0.3, "speaker": 0.1, "style": 0.3, "transcript": 1.0}


def encoder_config() -> Wav2Vec2Config:
    """A wav2vec2 of about a million parameters: base's convolutions with 32 channels, four layers of width 144."""
    return Wav2Vec2Config(
        hidden_size=144,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=576,
        conv_dim=(32,) * 7,
        num_conv_pos_embeddings=32,
        num_conv_pos_embedding_groups=16,
        hidden_dropout=0.0,
        attention_dropout=0.0,
        activation_dropout=0.0,
        feat_proj_dropout=0.0,
        layerdrop=0.0,
        apply_spec_augment=False,
        mask_time_prob=0.0,
        vocab_size=30,
    )


def tasks_of(dataset: Dataset) -> dict[str, dict]:
    """All that the pretraining speech is labelled with."""
    names = ("gender", "speaker", "style")
    tasks = {name: {"kind": "classification", "labels": sorted(set(dataset[name]))} for name in names}
    return tasks | {"transcript": {"kind": "ctc"}}


def new_model(tasks: dict[str, dict]) -> SerMetaModel:
    """An encoder with heads on its last layer, all untrained."""
    return SerMetaModel(
        SerMetaConfig(
            speech_config=encoder_config(),
            tasks=tasks,
            target_task="gender",
            layer_fusion="last_hidden",
            coattention=False,
            initializer_range=0.06,  # the usual 0.02 suits five times the width, and CTC would never start
        )
    )


def save_encoder(model: SerMetaModel, processor: SerMetaProcessor, output: Path) -> None:
    """The encoder alone, as a plain `Wav2Vec2Model` in half precision."""
    encoder = Wav2Vec2Model(encoder_config())
    encoder.load_state_dict(model.encoder.backbone.state_dict())
    encoder.half().save_pretrained(output)
    processor.feature_extractor.save_pretrained(output)


def train(
    model: SerMetaModel,
    processor: SerMetaProcessor,
    tasks: dict[str, dict],
    speech: Dataset,
    **settings: Any,
) -> None:
    """Trains all of the model on `speech`, in batches of alike lengths; `settings` are the Trainer's."""
    epochs, batch_size = settings["num_train_epochs"], settings["per_device_train_batch_size"]
    with tempfile.TemporaryDirectory() as folder:
        SerMetaTrainer(
            loss_weights=LOSS_WEIGHTS,
            encoder_learning_rate=settings["learning_rate"],
            lengths=recording_durations(speech),
            model=model,
            args=TrainingArguments(
                output_dir=folder,
                warmup_steps=min(200, int(0.1 * epochs * len(speech) / batch_size)),
                weight_decay=0.01,
                adam_beta2=0.98,
                logging_steps=100,
                save_strategy="no",
                remove_unused_columns=False,
                report_to="none",
                use_cpu=not torch.cuda.is_available(),
                **settings,
            ),
            processing_class=processor,
            data_collator=SpeechCollator(processor, tasks),
            train_dataset=speech,
        ).train()


def shortest(speech: Dataset, share: float) -> Dataset:
    """The shortest recordings: on them CTC finds its first alignments soonest."""
    by_length = np.argsort(recording_durations(speech), kind="stable")
    return speech.select(by_length[: int(share * len(speech))])


def main(
    output: Annotated[Path, typer.Argument(help="Folder for the encoder.")],
    utterances: Annotated[int, typer.Option(help="How many to speak.")] = 8_000,
    short_epochs: Annotated[float, typer.Option(help="First, passes over the shortest quarter of them.")] = 2.0,
    epochs: Annotated[float, typer.Option(help="Then, passes over all of them.")] = 6.0,
    batch_size: Annotated[int, typer.Option(help="Utterances a step.")] = 8,
    learning_rate: Annotated[float, typer.Option(help="At its highest.")] = 1e-3,
    unseen: Annotated[int, typer.Option(help="Utterances of new voices to judge it on.")] = 240,
    seed: Annotated[int, typer.Option(help="Of the speech and the training.")] = 0,
    corpus: Annotated[Path | None, typer.Option(help="Keep the speech in this folder.")] = None,
) -> None:
    """Speak, train, save, and say how well the encoder does on voices that are new to it."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = corpus or Path(scratch) / "speech"
        speech = load_corpus("espeak", folder, voices="pretraining", utterances=utterances, seed=seed)
        set_seed(seed)
        tasks = tasks_of(speech)
        model = new_model(tasks)
        processor = SerMetaProcessor(Wav2Vec2FeatureExtractor(do_normalize=True), character_tokenizer())
        train(
            model,
            processor,
            tasks,
            shortest(speech, 0.25),
            num_train_epochs=short_epochs,
            per_device_train_batch_size=batch_size,
            learning_rate=learning_rate,
            lr_scheduler_type="constant_with_warmup",
            seed=seed,
        )
        train(
            model,
            processor,
            tasks,
            speech,
            num_train_epochs=epochs,
            per_device_train_batch_size=batch_size,
            learning_rate=learning_rate,
            lr_scheduler_type="cosine",
            seed=seed,
        )
        save_encoder(model, processor, output)
        new_voices = load_corpus("espeak", Path(scratch) / "unseen", voices="tuning", utterances=unseen)
        judged = evaluate_predictions(predict_dataset(model, processor, new_voices), tasks)
    for task, measures in judged.items():
        typer.echo(f"{task}: {measures}")


if __name__ == "__main__":
    typer.run(main)
