"""An adapter on a Hub on the loopback address, whose encoder is another repository there."""

from pathlib import Path

import pytest
import torch
from loopback_hub import Repository

from ser_meta.modeling_ser_meta import SerMetaModel
from ser_meta.modeling_ser_meta.adapters_ser_meta import adapter_parameters
from ser_meta.modeling_ser_meta.loading_ser_meta import commit_of

pytest.importorskip("peft")
TASKS = {"mood": {"labels": ["angry", "neutral", "sad"]}}


def tree_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@torch.no_grad()
def test_an_adapter_finds_the_encoder_that_it_was_trained_with(hub, own_cache, encoder_folder, make_encoder, tmp_path):
    encoder, adapter = Repository(private=False), Repository(private=False)
    hub.repositories |= {"someone/encoder": encoder, "someone/adapter": adapter}
    trained_with = encoder.commit("main", tree_of(encoder_folder))
    model = SerMetaModel.from_backbone_pretrained("someone/encoder", TASKS, target_task="mood").eval()
    assert commit_of("someone/encoder", "main") == trained_with
    assert commit_of(str(encoder_folder), "main") == "main"
    model.add_encoder_adapter(rank=4)
    torch.manual_seed(0)
    for weight in adapter_parameters(model.encoder):
        weight.normal_(std=0.2)
    noise = torch.randn(1, 8_000)
    expected = model(noise).logits
    model.save_adapter(tmp_path / "model", "someone/encoder", trained_with)
    adapter.commit("main", tree_of(tmp_path / "model"))
    encoder.commit("main", tree_of(make_encoder(num_hidden_layers=2)))  # the name now means another encoder
    loaded = SerMetaModel.from_pretrained("someone/adapter").eval()
    torch.testing.assert_close(loaded(noise).logits, expected, rtol=1e-5, atol=1e-5)
