"""Foreign encoders and models that bring code of their own: it never runs, even if somebody says yes to everything."""

import json
import shutil
from pathlib import Path

import pytest

from ser_meta.modeling_ser_meta import SerMetaModel, SerMetaProcessor
from ser_meta.training.runs.loading import load_model

TASKS = {"emotion": {"labels": ["sad", "happy"]}}
CODE = """
from pathlib import Path
from transformers import *
Path({harm!r}).touch()
class Config(Wav2Vec2Config): pass
class Model(Wav2Vec2Model): pass
class Extractor(Wav2Vec2FeatureExtractor): pass
class Tokenizer(Wav2Vec2CTCTokenizer): pass
class Processor(ProcessorMixin): pass
"""
AUTO_MAP = {
    "AutoConfig": "harmful.Config",
    "AutoModel": "harmful.Model",
    "AutoFeatureExtractor": "harmful.Extractor",
    "AutoTokenizer": ["harmful.Tokenizer", "harmful.Tokenizer"],
    "AutoProcessor": "harmful.Processor",
}


@pytest.fixture
def harm(tmp_path, monkeypatch):
    """The file that foreign code would leave, while every question on standard input is answered with yes."""
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    path = tmp_path / "harm"
    yield path
    assert not path.exists()


def add_code(folder: Path, harm: Path, **changes) -> None:
    """Adds code to a folder of Transformers, and names it in each of its JSON files."""
    (folder / "harmful.py").write_text(CODE.format(harm=str(harm)))
    for name in ("config.json", "preprocessor_config.json", "processor_config.json", "tokenizer_config.json"):
        if (folder / name).is_file():
            content = json.loads((folder / name).read_text())
            for part in (content, content.get("speech_config"), content.get("feature_extractor")):
                if part is not None:
                    part["auto_map"] = AUTO_MAP
            (folder / name).write_text(json.dumps({**content, **changes}))


def test_an_encoders_own_code_does_not_run(encoder_folder, harm, tmp_path):
    folder = Path(shutil.copytree(encoder_folder, tmp_path / "encoder"))
    add_code(folder, harm)
    model = SerMetaModel.from_backbone_pretrained(str(folder), TASKS, coattention=False)
    assert type(model.encoder.backbone).__module__.startswith("transformers.")
    processor = SerMetaProcessor.from_backbone_pretrained(str(folder))
    assert type(processor.feature_extractor).__module__.startswith("transformers.")


def test_an_encoder_of_an_unknown_type_is_refused(encoder_folder, harm, tmp_path):
    folder = Path(shutil.copytree(encoder_folder, tmp_path / "encoder"))
    add_code(folder, harm, model_type="harmful", feature_extractor_type="Harmful")
    with pytest.raises(ValueError, match="trust_remote_code"):
        SerMetaModel.from_backbone_pretrained(str(folder), TASKS, coattention=False)
    with pytest.raises(ValueError, match="trust_remote_code"):
        SerMetaProcessor.from_backbone_pretrained(str(folder))


def test_a_models_own_code_does_not_run(encoder_folder, harm, tmp_path):
    SerMetaModel.from_backbone_pretrained(str(encoder_folder), TASKS, coattention=False).save_pretrained(
        tmp_path / "m"
    )
    SerMetaProcessor.from_backbone_pretrained(str(encoder_folder)).save_pretrained(tmp_path / "m")
    add_code(tmp_path / "m", harm)
    model, processor = load_model(tmp_path / "m")
    assert {type(model).__module__.split(".")[0], type(processor).__module__.split(".")[0]} == {"ser_meta"}
    for part in (model.encoder.backbone, processor.feature_extractor, processor.tokenizer):
        assert type(part).__module__.startswith("transformers."), part
