#!/usr/bin/env bash
# transformers 5.23.0 with peft 0.21.2: a LoRA of wav2vec2 that peft has saved cannot be loaded by `AutoModel.from_pretrained`
# or `load_adapter`, though the same works for HuBERT. wav2vec2 has a method `load_adapter` of its own, for the adapters of
# MMS, which stands in the place of the one for peft. `PeftModel.from_pretrained` loads both.
# Seen: hubert loads, and gives what it gave when it was saved; wav2vec2 says "Cannot load_adapter for FOLDER if
# `config.adapter_attn_dim` is not defined."
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install -q torch==2.13.0 transformers==5.23.0 peft==0.21.2 numpy==2.4.6
env/bin/python - <<'PYTHON'
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoConfig, AutoModel

small = dict(
    hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, conv_dim=(16, 16, 16),
    conv_kernel=(10, 8, 8), conv_stride=(5, 8, 8), num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4,
)
sound, seen = 0.1 * torch.randn(1, 16000), {}
for family in ("hubert", "wav2vec2"):
    AutoModel.from_config(AutoConfig.for_model(family, **small)).save_pretrained(f"{family}-base")
    adapted = get_peft_model(AutoModel.from_pretrained(f"{family}-base"), LoraConfig(target_modules=["q_proj", "v_proj"]))
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight)
    adapted.save_pretrained(family)
    with torch.no_grad():
        expected = adapted.eval()(sound).last_hidden_state
        again = PeftModel.from_pretrained(AutoModel.from_pretrained(f"{family}-base"), family).eval()
        assert torch.allclose(again(sound).last_hidden_state, expected, atol=1e-5)
        try:
            loaded = AutoModel.from_pretrained(family).eval()
            seen[family] = torch.allclose(loaded(sound).last_hidden_state, expected, atol=1e-5)
        except ValueError as error:
            seen[family] = str(error)
print(seen)
assert seen["hubert"] is True and "adapter_attn_dim" in seen["wav2vec2"]
PYTHON
